"""What is lost under masks: at the output, in the answers of a token model, at each module, and in the worst case."""

from fnmatch import fnmatch
from typing import Any, Literal

import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.config import Field
from digsite.decompose.core.losses.reconstruction import Adversarial
from digsite.decompose.core.masks import USED
from digsite.decompose.core.scene import MASKINGS
from digsite.decompose.judge import answers
from digsite.decompose.judge.metrics import Metric, View

ROUNDS = "importance above which rounding gives one"


class MaskedRecon(Metric):
    """Distance to the target's output under each masking: importances, rounded, stochastic, random, none and all off."""

    kind: Literal["masked_recon"] = "masked_recon"
    threshold: float = Field(default=USED, ge=0, lt=1, description=ROUNDS)
    modules: list[str] = Field(
        default=[], description="replace these modules only; none given means all of them"
    )

    @torch.no_grad()
    def measure(self, view: View) -> dict[str, float]:
        """Distance to the target's output, in each masking."""
        totals = dict.fromkeys(MASKINGS, 0.0)
        for i, batch in enumerate(view.draw_batches()):
            scene = view.decomposition.scene(batch)
            for masking in MASKINGS:
                drawn = scene.draw_masks(masking, self.threshold, torch.Generator().manual_seed(i))
                chosen = drawn.restrict_sites(self.modules) if self.modules else drawn
                totals[masking] += float(scene.compare_output(scene.forward(chosen))) / view.n_batches
        return {f"recon/{masking}": total for masking, total in totals.items()}


class HiddenRecon(Metric):
    """Error at each replaced module's own output, as a share of that output's mean square, masks on all modules at once."""

    kind: Literal["hidden_recon"] = "hidden_recon"
    maskings: list[str] = Field(
        default=["ci", "stochastic"], min_length=1, description="how the components are masked"
    )
    threshold: float = Field(default=USED, ge=0, lt=1, description=ROUNDS)

    @torch.no_grad()
    def measure(self, view: View) -> dict[str, float]:
        """Distance at each module's own output."""
        row: dict[str, float] = {}
        for i, batch in enumerate(view.draw_batches()):
            scene = view.decomposition.scene(batch)
            for masking in self.maskings:
                drawn = scene.draw_masks(masking, self.threshold, torch.Generator().manual_seed(i))
                caught: dict[str, Any] = {}
                scene.forward(drawn, caught)
                for module, wanted in scene.outputs.items():
                    size = wanted.square().mean().clamp_min(1e-30)
                    share = (caught[module] - wanted).square().mean() / size
                    key = f"hidden_recon/{masking}/{module}"
                    row[key] = row.get(key, 0.0) + float(share) / view.n_batches
        return row


class EmbeddingRecon(Metric):
    """What masked embeddings lose of the embedding: error as a share of the vectors' variance."""

    kind: Literal["embedding_recon"] = "embedding_recon"
    threshold: float = Field(default=USED, ge=0, lt=1, description=ROUNDS)

    @torch.no_grad()
    def measure(self, view: View) -> dict[str, float]:
        """Distance of the vectors that a decomposed embedding builds."""
        sites = view.decomposition.plan.target.sites
        embeddings = [name for name, site in sites.items() if isinstance(site.module, nn.Embedding)]
        if not embeddings:
            raise UsageError("The metric 'embedding_recon' needs a decomposed embedding.")
        row: dict[str, float] = {}
        for i, batch in enumerate(view.draw_batches()):
            scene = view.decomposition.scene(batch)
            for masking in ("ci", "rounded", "stochastic"):
                drawn = scene.draw_masks(masking, self.threshold, torch.Generator().manual_seed(i))
                for name in embeddings:
                    built = scene.build_vectors(name, drawn)
                    wanted = scene.outputs[name].flatten(0, -2)
                    spread = (wanted - wanted.mean(0)).square().mean().clamp_min(1e-30)
                    key = f"embedding_recon/{masking}/{name}"
                    error = (built.flatten(0, -2) - wanted).square().mean() / spread
                    row[key] = row.get(key, 0.0) + float(error) / view.n_batches
        return row


class PgdRecon(Metric):
    """Reconstruction under the worst masks that sign ascent finds: how much a decomposition hides from random masks."""

    kind: Literal["pgd_recon"] = "pgd_recon"
    steps: int = Field(default=20, gt=0, description="ascent steps")
    step_size: float = Field(default=0.1, gt=0, description="change of each mask source per step")
    shared: bool = Field(
        default=True, description="one set of sources for the whole batch, or one per position"
    )

    def measure(self, view: View) -> dict[str, float]:
        """The worst mask that a stated number of steps finds: an upper bound would need all of them."""
        attack = Adversarial(steps=self.steps, step_size=self.step_size, shared=self.shared)
        total = 0.0
        for i, batch in enumerate(view.draw_batches()):
            scene = view.decomposition.scene(batch)
            layout = scene.find_layout(residual=scene.plan.delta)
            generator = torch.Generator().manual_seed(i)
            noise = {
                key: torch.rand(shape, generator=generator).to(batch.device)
                for key, shape in attack.list_noise(layout).items()
            }
            total += float(attack.compute(scene, noise).detach()) / view.n_batches
        return {"recon/pgd": total}


class CeAndKl(Metric):
    """Cross-entropy and KL to the target under each masking, and the share of the cross-entropy that is recovered."""

    kind: Literal["ce_and_kl"] = "ce_and_kl"
    threshold: float = Field(default=USED, ge=0, lt=1, description=ROUNDS)
    subsets: dict[str, list[str]] = Field(
        default={},
        description="by a name of yours, patterns of the only modules that are replaced; all of them come anyway",
    )

    def measure(self, view: View) -> dict[str, float]:
        """Of all modules, and of the named groups of them alone."""
        if view.labels is None:
            raise UsageError("The metric 'ce_and_kl' needs a model of tokens, whose right answers are known.")
        row = self._measure_subset(view, None, "")
        for name, patterns in self.subsets.items():
            only = [m for m in view.decomposition.modules if any(fnmatch(m, pattern) for pattern in patterns)]
            if not only:  # patterns of another model's layers: a finished run has nothing to say about them
                continue
            row |= self._measure_subset(view, only, f"{name}/")
        return row

    def _measure_subset(self, view: View, only: list[str] | None, prefix: str) -> dict[str, float]:
        """Where only these modules are masked, the others being the target's own."""
        assert view.labels is not None
        ce: dict[str, float] = {}
        kl: dict[str, float] = {}
        for i, batch in enumerate(view.draw_batches()):
            scene, labels = view.decomposition.scene(batch), view.labels(batch)
            answered = answers.answer_maskings(scene, labels, threshold=self.threshold, seed=i, only=only)
            for name, answer in answered.items():
                ce[name] = ce.get(name, 0.0) + answer.ce / view.n_batches
                kl[name] = kl.get(name, 0.0) + answer.kl / view.n_batches
        target, zero = ce.pop("target"), ce["zero"]
        row = {f"{prefix}kl/{name}": value for name, value in kl.items() if name != "target"}
        row |= {f"{prefix}ce_difference/{name}": value - target for name, value in ce.items()}
        return row | {
            f"{prefix}ce_recovered/{name}": answers.recover_share(value, target, zero)
            for name, value in ce.items()
        }
