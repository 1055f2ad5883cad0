"""A block as a whole: gradient steps on all its kept weights towards the dense block's output.

What least squares cannot see, the softmax and the gate between the maps, is seen here. The stream is compared token by
token in units of the token's own size, as the next block's norm will.
"""

import torch

from digsite.prune.core.gradient_steps import Stepper, shuffled_batches
from digsite.prune.core.patterns import Pattern
from digsite.prune.core.repair import Masks, RepairSettings, Subject, Weights
from digsite.prune.core.repair.sub_block import token_weights
from digsite.prune.core.two_streams import Passage

LEVEL = "block"


def repair_block(passage: Passage, dense: Weights, keeps: Masks, settings: RepairSettings) -> None:
    """Train the kept weights of the block in place, on its inputs behind the pruned blocks."""
    subjects = [
        Subject(one, keeps[one.name], Pattern(0.5)) for one in passage.block.maps if one.name in keeps
    ]
    weights = token_weights(passage)
    batches = shuffled_batches(passage.n, settings)
    stepper = Stepper(subjects, settings, len(batches))
    for rows in batches:
        weight = weights[0][rows] if passage.block.whole else torch.cat([weights[row] for row in rows])

        def loss(rows: list[int] = rows, weight: torch.Tensor = weight) -> torch.Tensor:
            off = (
                (passage.output(rows).float() - passage.dense_output(rows).float())
                .square()
                .mean(-1, keepdim=True)
            )
            return (off * weight).mean()

        stepper.step(loss)
    stepper.finish()
