# %% [markdown]
# # Find a jump in a curve
# A jump comes with the interval in which it happened and with how surprising it is.

# %%
import numpy as np

from digsite.track import detect_jumps, make_series

rng = np.random.default_rng(0)
steps = np.arange(0, 4000, 10)
values = 8 - 3 / (1 + np.exp(-(steps - 2000) / 10)) + 0.1 * rng.normal(size=len(steps))
series = make_series(values, steps, measure="participation ratio", layer="layer 1")
series

# %%
for jump in detect_jumps(series.values, series.steps):
    print(
        f"{jump.kind} {jump.direction} at step {jump.step:g} [{jump.low:g}, {jump.high:g}], q = {jump.q:.1e}"
    )
