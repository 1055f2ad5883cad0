"""Cross-entropy and KL to the target under each masking, and the share of the cross-entropy that is recovered."""

from fnmatch import fnmatch
from typing import Literal

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.decompose.judge import answers
from digsite.decompose.judge.views import View


class Settings(Config):
    kind: Literal["ce_and_kl"] = "ce_and_kl"
    threshold: float = Field(default=0.1, ge=0, lt=1, description="importance above which rounding gives one")
    subsets: dict[str, list[str]] = Field(
        default={},
        description="by a name of yours, patterns of the only modules that are replaced; all of them come anyway",
    )


def compute(settings: Settings, view: View) -> dict[str, float]:
    if view.labels is None:
        raise UsageError("The metric 'ce_and_kl' needs a model of tokens, whose right answers are known.")
    row = _measured(settings, view, None, "")
    for name, patterns in settings.subsets.items():
        only = [m for m in view.found.modules if any(fnmatch(m, pattern) for pattern in patterns)]
        if not only:  # patterns of another model's layers: a finished run has nothing to say about them
            continue
        row |= _measured(settings, view, only, f"{name}/")
    return row


def _measured(settings: Settings, view: View, only: list[str] | None, prefix: str) -> dict[str, float]:
    assert view.labels is not None
    ce: dict[str, float] = {}
    kl: dict[str, float] = {}
    for i, batch in enumerate(view.batches()):
        scene, labels = view.found.scene(batch), view.labels(batch)
        found = answers.maskings(view.found, scene, labels, threshold=settings.threshold, seed=i, only=only)
        for name, answer in found.items():
            ce[name] = ce.get(name, 0.0) + answer.ce / view.n_batches
            kl[name] = kl.get(name, 0.0) + answer.kl / view.n_batches
    target, zero = ce.pop("target"), ce["zero"]
    row = {f"{prefix}kl/{name}": value for name, value in kl.items() if name != "target"}
    row |= {f"{prefix}ce_difference/{name}": value - target for name, value in ce.items()}
    return row | {
        f"{prefix}ce_recovered/{name}": answers.recovered(value, target, zero) for name, value in ce.items()
    }
