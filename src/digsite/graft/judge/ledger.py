"""The graft ledger: what each method was allowed, what crossed, and whether the result came from the donor."""

from dataclasses import asdict, dataclass
from typing import Any

from digsite.graft.core.operate import Operation
from digsite.graft.core.task import Outcome


@dataclass(frozen=True)
class Entry:
    """One line. Percentages; `gain` is calibrated transfer above the best null, `from_donor` above its own noise."""

    method: str
    budget: str
    transfer: float
    preservation: float
    foreign_as_new: float
    auc: float
    calibrated_transfer: float
    calibrated_preservation: float
    calibrated_foreign_as_new: float
    calibrated_auc: float
    noise_transfer: float
    noise_calibrated_transfer: float
    null_transfer: float
    gain: float
    from_donor: float
    collateral: float  # mean false-call rate on classes neither saw, above the donor's own
    added_parameters: int
    bytes_crossed: int
    images_read: str
    cpu_s: float
    is_void: bool  # it has read test images


class Unlisted(ValueError):
    """An operation without its ablation has no place in the ledger."""


def entry(operation: Operation, null: Outcome, donor_called_new: dict[int, float] | None = None) -> Entry:
    """The line of one operation, beside the best null at the same false-alarm rate."""
    if operation.outcome is None or operation.ablation is None:
        raise Unlisted(f"'{operation.plan.label}' was not scored together with its noise ablation.")
    raw, cal = operation.outcome.raw, operation.outcome.calibrated
    noise = operation.ablation
    strange = (donor_called_new or {}).items()
    extra = [operation.outcome.called_new[c] - share for c, share in strange]
    return Entry(
        method=operation.plan.label,
        budget=str(operation.plan.budget),
        transfer=raw.transfer,
        preservation=raw.preservation,
        foreign_as_new=raw.foreign_as_new,
        auc=raw.auc,
        calibrated_transfer=cal.transfer,
        calibrated_preservation=cal.preservation,
        calibrated_foreign_as_new=cal.foreign_as_new,
        calibrated_auc=cal.auc,
        noise_transfer=noise.raw.transfer,
        noise_calibrated_transfer=noise.calibrated.transfer,
        null_transfer=null.calibrated.transfer,
        gain=cal.transfer - null.calibrated.transfer,
        from_donor=cal.transfer - noise.calibrated.transfer,
        collateral=sum(extra) / len(extra) if extra else float("nan"),
        added_parameters=operation.added_parameters,
        bytes_crossed=operation.n_bytes,
        images_read=" ".join(f"{k}:{v}" for k, v in sorted(operation.images.items())),
        cpu_s=operation.cpu_s,
        is_void="t" in operation.images,
    )


def as_dict(line: Entry) -> dict[str, Any]:
    return asdict(line)


def say_gain(line: Entry) -> str:
    """The verdict in one sentence, whose first word is the sign of the gain over the best null."""
    compared = f"{line.calibrated_transfer:.1f} % of the new class against {line.null_transfer:.1f} % of the best null"
    if line.is_void:
        return f"Void: the method has read test images, so its gain of {line.gain:+.1f} points says nothing."
    if line.gain < 0:
        return f"Negative: the graft is {-line.gain:.1f} points below what no donor gives ({compared})."
    noise = f"{line.from_donor:+.1f} of them from what the donor knew"
    if line.gain == 0:
        return f"None: the graft gains nothing over what no donor gives ({compared})."
    return f"Gain: {line.gain:.1f} points at equal false alarms ({compared}), {noise}."
