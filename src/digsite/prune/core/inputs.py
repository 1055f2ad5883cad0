"""What calibration leaves of a layer's inputs: one pass gives the norms and X^T X that every method needs."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.base.errors import UsageError


@dataclass
class InputStatistics:
    """Running means over calibration sequences, in float32 and in the order of the published implementations.

    `square_norms` is the mean over sequences of every input channel's squared norm (Wanda), `hessian` is
    (2/n) sum X^T X (SparseGPT). Both follow the published recurrences step for step, so masks can agree bit for bit.
    `sample` holds some evenly spaced inputs: where nothing needs X^T X, which costs more than the pruning itself, the
    output error is measured on them.
    """

    square_norms: Float[Tensor, "inputs"]
    hessian: Float[Tensor, "inputs inputs"] | None
    n_sequences: int = 0
    n_tokens: int = 0
    sample: Float[Tensor, "tokens inputs"] | None = None
    per_batch: int = 0  # inputs of each batch that go into the sample

    @classmethod
    def empty(
        cls, n_inputs: int, *, gram: bool = True, device: torch.device | str = "cpu", per_batch: int = 0
    ) -> "InputStatistics":
        hessian = torch.zeros(n_inputs, n_inputs, device=device) if gram else None
        return cls(torch.zeros(n_inputs, device=device), hessian, per_batch=per_batch)

    @classmethod
    def unknown(cls, n_inputs: int, device: torch.device | str = "cpu") -> "InputStatistics":
        """Inputs of equal size and no correlation, for a map that no data reached: methods then go by magnitude."""
        return cls(torch.ones(n_inputs, device=device), 2 * torch.eye(n_inputs, device=device), 1, 1)

    @property
    def n_inputs(self) -> int:
        return len(self.square_norms)

    @property
    def norms(self) -> Float[Tensor, "inputs"]:
        return self.square_norms.sqrt()

    @property
    def gram(self) -> Float[Tensor, "inputs inputs"]:
        """X^T X divided by the number of sequences."""
        assert self.hessian is not None, "these statistics were collected without X^T X"
        return self.hessian / 2

    def update(self, inputs: Float[Tensor, "... tokens inputs"]) -> None:
        """Add one batch: (tokens, inputs) is one sequence, (sequences, tokens, inputs) is several at once."""
        batch = 1 if inputs.ndim < 3 else inputs.shape[0]
        # The transposed view is kept: the order in which a norm is summed follows the memory layout.
        columns = inputs.reshape(-1, inputs.shape[-1]).t()
        seen = self.n_sequences + batch
        self.square_norms *= self.n_sequences / seen
        self.square_norms += torch.norm(columns.float(), p=2, dim=1) ** 2 / seen
        if self.hessian is not None:
            scaled = math.sqrt(2 / seen) * columns.float()
            self.hessian *= self.n_sequences / seen
            self.hessian += scaled.matmul(scaled.t())
        if self.per_batch:
            step = max(1, columns.shape[1] // self.per_batch)
            first = (
                self.n_sequences % step
            )  # another place in every batch: a first token is unlike all others
            some = columns[:, first::step][:, : self.per_batch].t().float()
            self.sample = some.clone() if self.sample is None else torch.cat([self.sample, some])
        self.n_sequences = seen
        self.n_tokens += columns.shape[1]

    def checked(self, name: str = "the layer") -> "InputStatistics":
        """These statistics, if they can be used: some tokens were seen and every number is finite."""
        if self.n_tokens == 0:
            raise UsageError(
                f"No calibration inputs reached {name}.", hint="Check that the layer is used in the forward."
            )
        bad = (~self.square_norms.isfinite()).nonzero().flatten()
        if len(bad):
            raise UsageError(
                f"The calibration inputs of {name} are not finite in {len(bad)} of {self.n_inputs} channels "
                f"(first: channel {int(bad[0])}).",
                hint="Look for NaN or overflow in the model or its data type; pruning on them would mean nothing.",
            )
        return self


def collect(
    inputs: Float[Tensor, "... tokens inputs"],
    *,
    gram: bool = True,
    name: str = "the layer",
    per_batch: int = 0,
) -> InputStatistics:
    """Statistics of (tokens, inputs), or of (sequences, tokens, inputs) taken one sequence at a time."""
    if inputs.ndim not in (2, 3) or 0 in inputs.shape:
        raise UsageError(
            f"Inputs are (tokens, in) or (sequences, tokens, in); got shape {tuple(inputs.shape)}."
        )
    per_batch = per_batch * len(inputs) if inputs.ndim == 2 else per_batch
    statistics = InputStatistics.empty(inputs.shape[-1], gram=gram, device=inputs.device, per_batch=per_batch)
    for sequence in inputs if inputs.ndim == 3 else inputs[None]:
        statistics.update(sequence)
    return statistics.checked(name)
