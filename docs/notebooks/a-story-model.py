# %% [markdown]
# # What is inside a small language model?
# `stories260K` is a Llama of 260,032 parameters that somebody else trained on children's stories (Karpathy's `llama2.c`). It is small
# enough for a laptop and real enough to write sentences. With `DIGSITE_DATA` set to a folder that holds `lm/stories260K`, its name is
# enough; a Hugging Face folder of your own goes in the same place.

# %%
import digsite

dug = digsite.run("dig", model="stories260K", text="tinystories", data="", size="quick")
print(dug.verdict)

# %% [markdown]
# Every number of that sentence is a claim, beside what chance or a simple rival gives.

# %%
for claim in [claim for claim in dug.claims.values() if claim.null is not None][:8]:
    print(f"{claim.title}: {claim.value:.3g}; {claim.null_is or 'null'}: {claim.null:.3g}")

# %% [markdown]
# ## Prune one matrix, and ask whether the mask has structure
# Wanda keeps half of the weights of each row. Are there groups of features that keep the same inputs, or do the densities of rows and
# columns already explain what one sees?

# %%
masks = digsite.run("mask-clusters", model="stories260K", size="quick")
print(masks.verdict)

# %% [markdown]
# The mask itself, as the view of the run draws it; `digsite serve` shows it with zoom, neighbors and other orders of its rows.

# %%
masks.view("mask")
