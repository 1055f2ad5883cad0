# %% [markdown]
# # Run a study and read its answer
# `digsite.run` does what `digsite run` does on the command line, and returns the run.

# %%
import digsite

run = digsite.run("tms_5-2", size="smoke", steps=40)
run

# %% [markdown]
# Claims stand beside their nulls.

# %%
for name, claim in list(run.claims.items())[:5]:
    print(f"{name}: {claim.value} (null {claim.null}, n = {claim.n})")

# %%
steps, losses = run.metrics()["loss/stochastic_recon"]
print(f"reconstruction loss from {losses[0]:.4f} to {losses[-1]:.4f} in {steps[-1]} steps")
print(run.table("members").head())
