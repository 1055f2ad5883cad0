# %% [markdown]
# # Walk through a zoo
# A study makes a dozen networks; each can be rebuilt from its row of weights.

# %%
import digsite
from digsite import Zoo

run = digsite.run("mlp-digits", size="smoke")
zoo = Zoo.open(run.path)
zoo

# %%
print(
    zoo.labels[["member", "activation", "lr", "test_accuracy"]]
    .sort_values("test_accuracy")
    .to_string(index=False)
)

# %%
best = int(zoo.labels["test_accuracy"].idxmax())
for name, tensor in zoo.member(best).tensors.items():
    print(f"{name}: {tuple(tensor.shape)}, norm {float(tensor.norm()):.2f}")
