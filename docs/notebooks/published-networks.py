# %% [markdown]
# # Which of three published networks was made from which?
# Three image classifiers (WRN-16-1, 175,066 weights each) that were published with a paper on the removal of backdoors: in `nad_s` a
# trigger is planted, `nad_t` and `nad_e` were made from it. Nothing but the files is looked at here: no image, no training code. What
# their authors state stands in the last cell, so that the answers can be held against it. With `DIGSITE_DATA` set to a folder that
# holds `backdoored_nets` this takes seconds; any folder of checkpoints goes in the same place.

# %%
import os
import shutil
from pathlib import Path

import digsite
from digsite.read.api import trace_folder

folder = Path("networks")
folder.mkdir()
for name in ("nad_s", "nad_t", "nad_e"):
    shutil.copy(Path(os.environ["DIGSITE_DATA"]) / "backdoored_nets" / f"{name}.safetensors", folder)

# %% [markdown]
# ## Each one alone
# What is asked of the weights of any network, and how sure the answer is, where that can be told.

# %%
for name in ("nad_s", "nad_t", "nad_e"):
    answers = digsite.read(str(folder / f"{name}.safetensors")).answers
    print(name)
    for row in answers.itertuples():
        print(f"  {row.question} {row.answer}" + (f" [{row.sureness}]" if row.sureness else ""))

# %% [markdown]
# ## Side by side
# A pair is related when its neurons are numbered alike more than unrelated networks can be: `p` is that test, corrected. `direction` is
# the probability that the first came first.

# %%
family = trace_folder(str(folder))
print(family["tree"])
for edge in family["edges"]:
    print(f"{edge['parent']} -> {edge['child']}: {edge['note']}")

# %% [markdown]
# ## What their authors state
# `nad_t` was fine-tuned from `nad_s` on a few clean images, `nad_e` was repaired from `nad_s` with `nad_t` as its teacher; the trigger
# of `nad_s` makes it answer class 5. Counted as weights, the running statistics of batch normalization would turn the family round:
# with them `nad_e` is the nearest network to `nad_t` ([lineage](../read.md)).
