"""Track: how the dimensionality of a network's representations moves while it learns."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.track.activations import spectra
    from digsite.track.callbacks import lightning_callback, transformers_callback
    from digsite.track.capture import targets, watching
    from digsite.track.checkpoints import checkpoint_steps, observe_checkpoints
    from digsite.track.detect import detect_jumps
    from digsite.track.jumps import Jump
    from digsite.track.mechanisms.attention import attention_entropy, attention_specialization
    from digsite.track.mechanisms.change import activation_sparsity, weight_change
    from digsite.track.mechanisms.filters import filter_similarity
    from digsite.track.mechanisms.induction import prefix_matching
    from digsite.track.mechanisms.selectivity import activation_selectivity
    from digsite.track.members import EnsembleTracker
    from digsite.track.online import WeightRing
    from digsite.track.plan import plan_checkpoints
    from digsite.track.probe import Probe
    from digsite.track.series import Series, make_series
    from digsite.track.similarity import cka
    from digsite.track.tracker import Tracker

_HOMES = {
    "EnsembleTracker": "members",
    "Jump": "jumps",
    "Probe": "probe",
    "Series": "series",
    "Tracker": "tracker",
    "WeightRing": "online",
    "activation_selectivity": "mechanisms.selectivity",
    "activation_sparsity": "mechanisms.change",
    "attention_entropy": "mechanisms.attention",
    "attention_specialization": "mechanisms.attention",
    "checkpoint_steps": "checkpoints",
    "cka": "similarity",
    "detect_jumps": "detect",
    "filter_similarity": "mechanisms.filters",
    "lightning_callback": "callbacks",
    "make_series": "series",
    "observe_checkpoints": "checkpoints",
    "plan_checkpoints": "plan",
    "prefix_matching": "mechanisms.induction",
    "spectra": "activations",
    "targets": "capture",
    "transformers_callback": "callbacks",
    "watching": "capture",
    "weight_change": "mechanisms.change",
}
__all__ = [
    "EnsembleTracker", "Jump", "Probe", "Series", "Tracker", "WeightRing", "activation_selectivity",
    "activation_sparsity", "attention_entropy", "attention_specialization", "checkpoint_steps", "cka", "detect_jumps",
    "filter_similarity", "lightning_callback", "make_series", "observe_checkpoints", "plan_checkpoints",
    "prefix_matching", "spectra", "targets", "transformers_callback", "watching", "weight_change",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Settings load without torch, so nothing is imported before it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.track' has no attribute {name!r}")
    return getattr(import_module(f"digsite.track.{_HOMES[name]}"), name)
