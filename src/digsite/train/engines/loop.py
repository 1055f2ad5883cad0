"""One member after the other: the fastest way for networks whose own matrices already fill the processor."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from digsite.train.engine import Tensors
from digsite.train.feeds import Batch
from digsite.train.layout import Layout
from digsite.train.losses import Loss


class Engine:
    """Plain autograd on one row at a time."""

    def __init__(self, model: nn.Module, layout: Layout, loss: Loss) -> None:
        self.model, self.layout, self.loss = model, layout, loss

    @staticmethod
    def supports(model: nn.Module) -> bool:
        return True

    def gradients(self, flat: Tensor, buffers: Tensors, batch: Batch, masks: Tensors, out: Tensor) -> Tensor:
        losses = []
        for k, row in enumerate(flat):
            params = {n: v.detach().requires_grad_() for n, v in self.layout.views(row).items()}
            x, y = (batch.x, batch.y) if batch.shared else (batch.x[k], batch.y[k])
            extra = {name: value[k] for name, value in (*buffers.items(), *masks.items())}
            loss = self.loss(functional_call(self.model, (params, extra), (x,)), y)
            grads = torch.autograd.grad(
                loss, list(params.values()), allow_unused=True, materialize_grads=True
            )
            torch.cat([g.reshape(-1) for g in grads], out=out[k])
            losses.append(loss.detach())
        return torch.stack(losses)

    def outputs(self, flat: Tensor, buffers: Tensors, x: Tensor, shared: bool) -> Tensor:
        rows = []
        for k, row in enumerate(flat):
            extra = {name: value[k] for name, value in buffers.items()}
            rows.append(
                functional_call(self.model, (self.layout.views(row), extra), (x if shared else x[k],))
            )
        return torch.stack(rows)
