"""One sparse code read from, and written to, several networks' features of the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from digsite.graft.edits import with_outputs
from digsite.graft.nets import Composite, head, record
from digsite.graft.pair import Side
from digsite.graft.tune import one_cycle


@dataclass(frozen=True)
class SharedCodes:
    """Encoders and decoders by network; features are standardized by `center` and `scale` first."""

    encode_w: list[Tensor]
    encode_b: list[Tensor]
    decode_w: list[Tensor]
    decode_b: list[Tensor]
    center: list[Tensor]
    scale: list[Tensor]

    def codes(self, i: int, h: Tensor) -> Tensor:
        return ((h - self.center[i]) / self.scale[i] @ self.encode_w[i] + self.encode_b[i]).relu()

    def features(self, i: int, z: Tensor) -> Tensor:
        return (z @ self.decode_w[i] + self.decode_b[i]) * self.scale[i] + self.center[i]


def fit_shared_codes(
    features: Sequence[Tensor], width: int, sparsity: float, draw: torch.Generator, *,
    levels: Sequence[int] = (), steps: int = 400, lr: float = 3e-3, batch: int = 256,
) -> SharedCodes:  # fmt: skip
    """Every network's code must rebuild every network's features; `levels` are prefixes that must do so alone.

    The penalty is `sparsity` times the mean code. Features of the same images, one matrix per network.
    """
    center = [h.mean(0) for h in features]
    scale = [(h - m).square().mean().sqrt().clamp_min(1e-6).reshape(1) for h, m in zip(features, center)]
    xs = [(h - m) / s for h, m, s in zip(features, center, scale)]
    enc = [torch.randn(x.shape[1], width, generator=draw) / x.shape[1] ** 0.5 for x in xs]
    dec = [e.T.clone() / 2 for e in enc]
    enc_b, dec_b = [torch.zeros(width) for _ in xs], [torch.zeros(x.shape[1]) for x in xs]
    learned = [p.requires_grad_() for group in (enc, dec, enc_b, dec_b) for p in group]
    solver = torch.optim.Adam(learned, lr)
    cycle = one_cycle(solver, lr, steps)
    prefixes = [*levels, width] if width not in levels else list(levels)
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(xs[0]), (batch,), generator=draw)
            parts = [x[pick] for x in xs]
            loss = torch.zeros(())
            for part, e, eb in zip(parts, enc, enc_b):
                z = (part @ e + eb).relu()
                loss = loss + sparsity * z.mean()
                for n in prefixes:
                    guesses = (z[:, :n] @ d[:n] + db for d, db in zip(dec, dec_b))
                    loss = loss + sum(
                        ((g - p).square().mean() for g, p in zip(guesses, parts)), torch.zeros(())
                    )
            solver.zero_grad(set_to_none=True)
            loss.backward()
            solver.step()
            cycle.step()
    e, eb, d, db = ([p.detach() for p in group] for group in (enc, enc_b, dec, dec_b))
    return SharedCodes(e, eb, d, db, center, scale)


class CodeReader(Composite):
    """New logits from the shared code of the receiver's features: encode, decode as the donor, the donor's row."""

    def __init__(
        self, side: Side, shared: SharedCodes, mine: int, row: Tensor, bias: Tensor, donor: int
    ) -> None:
        super().__init__()
        self.base, self.name = with_outputs(side.model, side.head, side.new), side.head
        self.classes = side.new
        enc = shared.encode_w[mine] / shared.scale[mine]
        self.encode = nn.Linear(enc.shape[0], enc.shape[1])
        self.encode.weight.data = enc.T.clone()
        self.encode.bias.data = shared.encode_b[mine] - shared.center[mine] @ enc
        out = row * shared.scale[donor]
        self.read = nn.Linear(enc.shape[1], len(row))
        self.read.weight.data = out @ shared.decode_w[donor].T
        self.read.bias.data = bias + row @ (
            shared.decode_b[donor] * shared.scale[donor] + shared.center[donor]
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = record(self.base, x, self.name)
        out = seen.logits.clone()
        out[:, self.classes] = self.read(self.encode(seen.everything).relu())
        return out


def donor_rows(donor: nn.Module, name: str, classes: list[int]) -> tuple[Tensor, Tensor]:
    last = head(donor, name)
    bias = torch.zeros(last.out_features) if last.bias is None else last.bias.detach()
    return last.weight.detach()[classes], bias[classes]
