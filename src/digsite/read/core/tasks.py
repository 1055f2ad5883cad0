"""The questions a reader answers: each names its label column, its kind, and what it depends on."""

from dataclasses import dataclass, field
from typing import Literal

from digsite.base.errors import UsageError, name_nearest


@dataclass(frozen=True)
class Task:
    """`function` tasks ask about what a network does and are read in canonical coordinates, where scales and signs
    that the function does not see are fixed; `recipe` tasks ask how it was made and are read as the weights lie."""

    name: str
    kind: Literal["regression", "classification"]
    about: Literal["function", "recipe"] = "function"
    classes: tuple[str, ...] = field(default=())
    per_output: bool = False  # one class per output neuron, and "none"
    purpose: str = ""
    bounds: tuple[float, float] | None = None

    @property
    def n_outputs(self) -> int:
        return 1 if self.kind == "regression" else len(self.classes)

    @property
    def metric(self) -> str:
        """The score that is compared first."""
        if self.kind == "regression":
            return "r2"
        return "auroc" if len(self.classes) == 2 else "accuracy"


_SHARE = (0.0, 1.0)
_KNOWN = [
    Task("test_accuracy", "regression", bounds=_SHARE, purpose="accuracy on clean test images"),
    Task("generalization_gap", "regression", purpose="training minus test accuracy"),
    Task("overfitting", "regression", purpose="(last - best validation loss) / best"),
    Task(
        "convergence_epoch", "regression", "recipe", purpose="when the validation loss was lowest, as a share"
    ),
    Task("sparsity", "regression", "recipe", bounds=_SHARE, purpose="share of weights below 1e-6"),
    Task("weight_mean", "regression", "recipe", purpose="mean of all weights"),
    Task("weight_std", "regression", "recipe", purpose="standard deviation of all weights"),
    Task("log_lr", "regression", "recipe", purpose="log10 of the learning rate"),
    Task("log_effective_lr", "regression", "recipe", purpose="log10 of the learning rate / (1 - momentum)"),
    Task("log_weight_decay", "regression", "recipe", purpose="log10 of the weight decay"),
    Task("dropout", "regression", "recipe", bounds=_SHARE, purpose="dropout rate in training"),
    Task("label_noise", "regression", bounds=_SHARE, purpose="share of training labels replaced at random"),
    Task("family", "classification", "recipe", purpose="architecture family"),
    Task("activation", "classification", "recipe", purpose="nonlinearity of the hidden layers"),
    Task("optimizer", "classification", "recipe", purpose="optimizer"),
    Task("init", "classification", "recipe", purpose="initialization scheme"),
    Task("train_fraction", "classification", purpose="share of the training set that was used"),
    Task("missing_class", "classification", per_output=True, purpose="the class that training never saw"),
    Task("noisy_labels", "classification", purpose="whether some labels were random"),
    Task("backdoor", "classification", purpose="whether a trigger was planted and works"),
]
TASKS: dict[str, Task] = {t.name: t for t in _KNOWN}


def task(name: str) -> Task:
    if name not in TASKS:
        raise UsageError(f"There is no task '{name}'.", hint=name_nearest(name, TASKS))
    return TASKS[name]
