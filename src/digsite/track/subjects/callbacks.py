"""The tracker inside other people's training loops: Hugging Face Trainer and Lightning, both optional."""

from __future__ import annotations

from typing import Any

from digsite.base.errors import require_package
from digsite.track.core.tracker import Tracker


def transformers_callback(probe: Any, every: int = 10, **options: Any) -> Any:
    """A `transformers.TrainerCallback`; its `tracker` is there once training begins."""
    transformers = require_package("transformers", extra="hub")

    class TrackerCallback(transformers.TrainerCallback):
        tracker: Tracker | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.tracker = Tracker(kwargs["model"], probe, every, first_step=state.global_step, **options)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.tracker is not None:
                last = state.log_history[-1].get("loss") if state.log_history else None
                self.tracker.step(last)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.tracker is not None:
                self.tracker.close()

    return TrackerCallback()


def lightning_callback(probe: Any, every: int = 10, **options: Any) -> Any:
    """A `lightning.Callback`; one step per batch that ends with an optimizer step."""
    lightning = require_package("lightning", extra="lightning")

    class TrackerCallback(lightning.Callback):
        tracker: Tracker | None = None

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.tracker = Tracker(module, probe, every, first_step=trainer.global_step, **options)

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            if self.tracker is not None and trainer.global_step > self.tracker.count:
                self.tracker.step(outputs["loss"] if isinstance(outputs, dict) else outputs)

        def on_train_end(self, trainer: Any, module: Any) -> None:
            if self.tracker is not None:
                self.tracker.close()

    return TrackerCallback()
