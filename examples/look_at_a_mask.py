# %% [markdown]
# # Look at a pruning mask
# Packed bits; neighbors by exact Hamming distance.

# %%
import numpy as np

from digsite.prune import neighbours, pack

rng = np.random.default_rng(0)
weights = rng.normal(size=(256, 512)) * rng.lognormal(0, 0.4, 512)  # some inputs matter more
keep = np.abs(weights) >= np.median(np.abs(weights), axis=1, keepdims=True)
mask = pack(keep)
mask

# %%
distances, indices = neighbours(mask, 3, "rows")
print("nearest three features of the first five, and how many bits differ:")
print(indices[:5])
print(distances[:5])
