"""The questions a reader answers: each names its label column, its kind, and what it depends on."""

from dataclasses import dataclass, field
from typing import Literal

from digsite.base.errors import UsageError, name_nearest


@dataclass(frozen=True)
class ReadTask:
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
    def is_regression(self) -> bool:
        """Whether it asks for a number; it asks for a class otherwise."""
        return self.kind == "regression"

    @property
    def n_outputs(self) -> int:
        """One number, or one for each class."""
        return 1 if self.is_regression else len(self.classes)

    @property
    def metric(self) -> str:
        """The score that is compared first."""
        if self.is_regression:
            return "r2"
        return "auroc" if len(self.classes) == 2 else "accuracy"


_SHARE = (0.0, 1.0)
_KNOWN = [
    ReadTask("test_accuracy", "regression", bounds=_SHARE, purpose="accuracy on clean test images"),
    ReadTask("generalization_gap", "regression", purpose="training minus test accuracy"),
    ReadTask("overfitting", "regression", purpose="(last - best validation loss) / best"),
    ReadTask(
        "convergence_epoch", "regression", "recipe", purpose="when the validation loss was lowest, as a share"
    ),
    ReadTask("sparsity", "regression", "recipe", bounds=_SHARE, purpose="share of weights below 1e-6"),
    ReadTask("weight_mean", "regression", "recipe", purpose="mean of all weights"),
    ReadTask("weight_std", "regression", "recipe", purpose="standard deviation of all weights"),
    ReadTask("log_lr", "regression", "recipe", purpose="log10 of the learning rate"),
    ReadTask(
        "log_effective_lr", "regression", "recipe", purpose="log10 of the learning rate / (1 - momentum)"
    ),
    ReadTask("log_weight_decay", "regression", "recipe", purpose="log10 of the weight decay"),
    ReadTask("dropout", "regression", "recipe", bounds=_SHARE, purpose="dropout rate in training"),
    ReadTask(
        "label_noise", "regression", bounds=_SHARE, purpose="share of training labels replaced at random"
    ),
    ReadTask("family", "classification", "recipe", purpose="architecture family"),
    ReadTask("activation", "classification", "recipe", purpose="nonlinearity of the hidden layers"),
    ReadTask("optimizer", "classification", "recipe", purpose="optimizer"),
    ReadTask("init", "classification", "recipe", purpose="initialization scheme"),
    ReadTask("train_fraction", "classification", purpose="share of the training set that was used"),
    ReadTask("missing_class", "classification", per_output=True, purpose="the class that training never saw"),
    ReadTask("noisy_labels", "classification", purpose="whether some labels were random"),
    ReadTask("backdoor", "classification", purpose="whether a trigger was planted and works"),
]
TASKS: dict[str, ReadTask] = {t.name: t for t in _KNOWN}


def find_task(name: str) -> ReadTask:
    """The task of this name; a UsageError with the nearest one where there is none."""
    if name not in TASKS:
        raise UsageError(f"There is no task '{name}'.", hint=name_nearest(name, TASKS))
    return TASKS[name]
