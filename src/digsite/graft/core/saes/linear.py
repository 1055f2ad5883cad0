"""Kinds with one linear encoder and one linear decoder; they differ in which codes stay on, and in what is penalized."""

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.graft.core.saes import SaeKind

Params = dict[str, Tensor]
PACE = 0.02  # of the running threshold of batch top-k
WINDOW = 0.05  # in which a threshold of JumpReLU feels its gradient


class _LinearSae:
    """Unit decoder rows at the start, the encoder their transpose."""

    @staticmethod
    def draw_parameters(d: int, width: int, draw: torch.Generator, d_out: int | None = None) -> Params:
        """`W_enc` (d, codes), `b_enc` (codes,), `W_dec` (codes, d), `b_dec` (d,); a transcoder's encoder is drawn apart."""
        rows = torch.randn(width, d, generator=draw)
        rows = rows / rows.norm(dim=1, keepdim=True)
        written = rows
        if d_out is not None:
            written = torch.randn(width, d_out, generator=draw)
            written = written / written.norm(dim=1, keepdim=True)
        return {
            "W_enc": rows.T.clone(),
            "b_enc": torch.zeros(width),
            "W_dec": written,
            "b_dec": torch.zeros(written.shape[1]),
        }

    @staticmethod
    def decode_stacked(p: Params, z: Float[Tensor, "K n codes"]) -> Float[Tensor, "K n d_out"]:
        """Codes times decoder rows, and the offset."""
        return torch.baddbmm(p["b_dec"][:, None], z, p["W_dec"])


class L1(_LinearSae, SaeKind):
    """ReLU codes with an L1 penalty, each code weighed by the length of its decoder row."""

    SAELENS = "standard"

    @staticmethod
    def encode_stacked(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"]
    ) -> Float[Tensor, "K n codes"]:
        """All codes above zero."""
        return open_codes(p, x)

    @staticmethod
    def measure_loss(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"], wanted: Float[Tensor, "K n d_out"]
    ) -> Float[Tensor, "K"]:
        """Squared error, and `knob` times the mean code; without the row length codes would shrink and rows grow."""
        return measure_weighed(p, x, knob, wanted, p["W_dec"].norm(dim=2))


class Crosscoder(L1):
    """The published crosscoder: one ReLU code for two models side by side, each code weighed by the sum of its two rows' lengths.

    A sum of lengths, other than the length of both together, makes a row that one model does not need go to zero: what only
    one of them knows is then read from the decoder alone (Lindsey et al. 2024, "Sparse crosscoders").
    """

    STREAMS = 2
    SAELENS = ""

    @staticmethod
    def draw_parameters(d: int, width: int, draw: torch.Generator, d_out: int | None = None) -> Params:
        """As the others, for an even number of dimensions."""
        if d % 2:
            raise UsageError(
                f"A crosscoder reads two models of one width side by side, and {d} dimensions are odd."
            )
        return _LinearSae.draw_parameters(d, width, draw, d_out)

    @staticmethod
    def measure_loss(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"], wanted: Float[Tensor, "K n d_out"]
    ) -> Float[Tensor, "K"]:
        """Squared error, and `knob` times the mean code, by the lengths of both models' rows."""
        return measure_weighed(p, x, knob, wanted, p["W_dec"].unflatten(2, (2, -1)).norm(dim=3).sum(2))


class Topk(_LinearSae, SaeKind):
    """The k largest codes of each input stay on."""

    KNOB = "codes that stay on"
    COUNTS = True
    SAELENS = "topk"
    SPARSIFY = True

    @staticmethod
    def encode_stacked(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"]
    ) -> Float[Tensor, "K n codes"]:
        """Codes that are at least the k-th largest of their input."""
        z = open_codes(p, x)
        k = knob.long().clamp(1, z.shape[2])
        ranked = z.detach().sort(dim=2, descending=True).values
        least = ranked.gather(2, (k - 1)[:, None, None].expand(-1, z.shape[1], 1))
        return torch.where(z >= least, z, torch.zeros_like(z))

    @staticmethod
    def measure_loss(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"], wanted: Float[Tensor, "K n d_out"]
    ) -> Float[Tensor, "K"]:
        """Squared error alone: sparsity is built in."""
        return measure_error(p, wanted, Topk.encode_stacked(p, x, knob))


class BatchTopk(_LinearSae, SaeKind):
    """The n times k largest codes of a batch of n stay on; afterwards a fixed threshold that keeps as many."""

    KNOB = "codes that stay on, on average"
    COUNTS = True
    SAELENS = "jumprelu"  # a threshold network, once it is trained

    @staticmethod
    def draw_parameters(d: int, width: int, draw: torch.Generator, d_out: int | None = None) -> Params:
        """As the others, and the running `threshold` (1,)."""
        return {**_LinearSae.draw_parameters(d, width, draw, d_out), "threshold": torch.zeros(1)}

    @staticmethod
    def encode_stacked(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"]
    ) -> Float[Tensor, "K n codes"]:
        """Codes above the threshold that training followed."""
        z = open_codes(p, x)
        return torch.where(z >= p["threshold"][:, :, None], z, torch.zeros_like(z))

    @staticmethod
    def measure_loss(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"], wanted: Float[Tensor, "K n d_out"]
    ) -> Float[Tensor, "K"]:
        """Squared error with the batch's largest codes."""
        z = open_codes(p, x)
        n, m = z.shape[1:]
        keep = (knob * n).long().clamp(1, n * m)
        ranked = z.detach().flatten(1).sort(dim=1, descending=True).values
        least = ranked.gather(1, keep[:, None] - 1)
        with torch.no_grad():  # the threshold is followed, not descended
            p["threshold"].lerp_(least, PACE)
        return measure_error(p, wanted, torch.where(z >= least[:, :, None], z, torch.zeros_like(z)))


class Jumprelu(_LinearSae, SaeKind):
    """Codes above a learned threshold stay as they are; the number of open codes is penalized (Rajamanoharan 2024)."""

    KNOB = "penalty on the number of open codes"
    SAELENS = "jumprelu"

    @staticmethod
    def draw_parameters(d: int, width: int, draw: torch.Generator, d_out: int | None = None) -> Params:
        """As the others, and a `threshold` (codes,) per code."""
        return {**_LinearSae.draw_parameters(d, width, draw, d_out), "threshold": torch.full((width,), 0.01)}

    @staticmethod
    def encode_stacked(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"]
    ) -> Float[Tensor, "K n codes"]:
        """Codes above their own threshold."""
        z = open_codes(p, x)
        return z * (z > p["threshold"][:, None])

    @staticmethod
    def measure_loss(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"], wanted: Float[Tensor, "K n d_out"]
    ) -> Float[Tensor, "K"]:
        """Squared error, and `knob` times the share of open codes."""
        z = open_codes(p, x)
        gate: Tensor = _Gate.apply(z, p["threshold"][:, None])  # pyright: ignore[reportAssignmentType]
        return measure_error(p, wanted, z * gate) + knob * gate.sum(2).mean(1) / x.shape[2]


class _Gate(torch.autograd.Function):
    """Heaviside step whose threshold gets a rectangle-kernel gradient; torch has no such estimator."""

    @staticmethod
    def forward(ctx, z: Tensor, threshold: Tensor) -> Tensor:
        """A step at a learned threshold."""
        ctx.save_for_backward(z, threshold)
        return (z > threshold).to(z)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """A box around the threshold stands for the slope that a step does not have (arXiv 2407.14435)."""
        z, threshold = ctx.saved_tensors
        near = ((z - threshold).abs() < WINDOW / 2).to(z) / WINDOW
        return torch.zeros_like(z), (-near * grads[0]).sum(1, keepdim=True)


def open_codes(p: Params, x: Float[Tensor, "K n d"]) -> Float[Tensor, "K n codes"]:
    """The linear encoder behind a ReLU."""
    return torch.baddbmm(p["b_enc"][:, None], x, p["W_enc"]).relu()


def measure_weighed(
    p: Params,
    x: Float[Tensor, "K n d"],
    knob: Float[Tensor, "K"],
    wanted: Float[Tensor, "K n d_out"],
    sizes: Float[Tensor, "K codes"],
) -> Float[Tensor, "K"]:
    """The error of ReLU codes, and `knob` times the mean code, each weighed by its size."""
    z = open_codes(p, x)
    penalty = torch.einsum("knm,km->k", z, sizes) / x.shape[1] / x.shape[2]
    return measure_error(p, wanted, z) + knob * penalty


def measure_error(
    p: Params, wanted: Float[Tensor, "K n d_out"], z: Float[Tensor, "K n codes"]
) -> Float[Tensor, "K"]:
    """Mean squared error per member of what codes `z` rebuild."""
    return (_LinearSae.decode_stacked(p, z) - wanted).square().mean((1, 2))
