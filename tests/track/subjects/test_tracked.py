"""Other people's training loops: the callbacks track in them; without the other trainer its install is named."""

import importlib.util
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from digsite.base.errors import MissingExtra
from digsite.track import lightning_callback, transformers_callback
from digsite.track.subjects import tracked

HAS_LIGHTNING = importlib.util.find_spec("lightning") is not None
X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.skipif(HAS_LIGHTNING, reason="lightning is installed")
def test_lightning_is_named() -> None:
    with pytest.raises(MissingExtra, match="lightning"):
        lightning_callback(X)


def test_the_order_of_lightning_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's own calls, without Lightning: batches that only gather gradients are no steps."""
    monkeypatch.setattr(tracked, "require_package", lambda *_, **__: SimpleNamespace(Callback=object))
    callback = lightning_callback(X, every=1, budget=None)
    model, trainer = nn.Linear(4, 2), SimpleNamespace(global_step=0)
    callback.on_train_start(trainer, model)
    for batch in range(6):
        trainer.global_step = (batch + 1) // 2  # gradients of two batches make a step
        callback.on_train_batch_end(trainer, model, {"loss": torch.tensor(1.0)}, None, batch)
    callback.on_train_end(trainer, model)
    assert callback.tracker is not None and callback.tracker.records.steps() == [0, 1, 2, 3]
    assert callback.tracker.series("loss")[0].values.tolist() == [1.0] * 3


@pytest.mark.skipif(not HAS_LIGHTNING, reason="lightning is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_lightning_trainer(tmp_path) -> None:
    lightning = importlib.import_module("lightning")

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x)

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            return self(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), 1e-2)

    callback = lightning_callback(X, every=2, budget=None)
    trainer = lightning.Trainer(
        max_steps=6,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    data = torch.utils.data.TensorDataset(X)
    trainer.fit(Net(), torch.utils.data.DataLoader(data, batch_size=8))
    assert callback.tracker.records.steps() == [0, 2, 4, 6]
    (series,) = callback.tracker.series("stable_rank", "layers.2")
    assert len(series.values) == 4 and not series.constant


def test_transformers_callback_tracks_or_is_named() -> None:
    if importlib.util.find_spec("transformers") is None:
        with pytest.raises(MissingExtra, match="transformers"):
            transformers_callback(X)
        return
    callback = transformers_callback(X, every=1, budget=None)

    class State:
        global_step = 0
        log_history: tuple[dict, ...] = ()

    callback.on_train_begin(None, State(), None, model=nn.Linear(4, 2))
    callback.on_step_end(None, State(), None)
    callback.on_train_end(None, State(), None)
    assert callback.tracker is not None and callback.tracker.records.steps() == [0, 1]
