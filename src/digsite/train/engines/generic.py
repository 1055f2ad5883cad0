"""One member after the other: the fastest way for networks whose own matrices already fill the processor.

Two engines for any module: one after the other, and all at once by torch.func. The second is for small
networks, whose single steps are mostly overhead.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from digsite.train.engines import Engine, Tensors
from digsite.train.feeds import Batch


class LoopEngine(Engine):
    """Plain autograd on one row at a time."""

    NAME = "loop"

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Everything that is a module."""
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


# The general path: torch.func turns the one-network step into a step of all, for any nn.Module.


class VmapEngine(Engine):
    """vmap over stacked parameters, buffers and mini-batches."""

    NAME = "vmap"

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Tried, not known: what has no rule for vmap fails when it is run, and says so."""
        return True

    def gradients(self, flat: Tensor, buffers: Tensors, batch: Batch, masks: Tensors, out: Tensor) -> Tensor:

        def run_one(params: dict[str, Tensor], extra: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return self.loss(functional_call(self.model, (params, extra), (x,)), y)

        # Only the way forward is mapped: a tenth to a sixth cheaper than vmap over torch.func.grad (small TMS networks).
        params = {n: v.detach().requires_grad_() for n, v in self.layout.views(flat).items()}
        lead = None if batch.shared else 0
        losses = vmap(run_one, in_dims=(0, 0, lead, lead), randomness="error")(
            params, {**buffers, **masks}, batch.x, batch.y
        )
        leaves = list(params.values())
        grads = torch.autograd.grad(losses.sum(), leaves, allow_unused=True, materialize_grads=True)
        self.layout.join(dict(zip(self.layout.names, grads, strict=True)), out)
        return losses.detach()

    def outputs(self, flat: Tensor, buffers: Tensors, x: Tensor, shared: bool) -> Tensor:

        def run_one(params: dict[str, Tensor], extra: dict[str, Tensor], batch: Tensor) -> Tensor:
            return functional_call(self.model, (params, extra), (batch,))

        every = vmap(run_one, in_dims=(0, 0, None if shared else 0), randomness="error")
        return every(self.layout.views(flat), dict(buffers), x)
