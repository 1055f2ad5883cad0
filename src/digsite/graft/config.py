"""Configs of the graft room; nothing here loads torch."""

import pkgutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import field_validator, model_validator

from digsite.base.errors import nearest
from digsite.config import Config, Field
from digsite.config.members import named

METHOD_FOLDER = Path(__file__).parent / "core" / "methods"
MLPS = {
    "simple": [64, 32],
    "mega": [512, 256, 128, 64],
    "wide": [512, 128],
    "deep": [256, 256, 128],
    "super_wide": [2048],
    "very_deep": [64] * 6,
}
CNNS = {  # channels, then fully connected widths
    "cnn_base": ([32, 64], [128]),
    "cnn_wide": ([64, 128], [256]),
    "cnn_deep": ([32, 64, 64], [128, 64]),
    "cnn_bottleneck": ([32, 64], [64]),
    "cnn_pyramid": ([32, 64], [256, 128]),
}
NETWORKS = (*MLPS, *CNNS, "transformer")
Network = Annotated[str, named("network", NETWORKS)]
ImageSet = Annotated[str, named("image set", "digsite.data.sets")]
SURGERY = (
    "direct_copy",
    "procrustes_probe",
    "procrustes_probe as_published=true",
    "importance",
    "gradual_blend",
    "pathway",
    "activation_selective",
    "cascade",
    "gradient_injection",
    "preserved_injection",
    "vector_space",
    "vector_space as_published=true",
    "cross_vector",
    "aligned_spatial",
    "aligned_spatial as_published=true",
)
NULLS = (
    "null_dead_row",
    "null_novelty",
    "null_novelty rule=softmax",
    "null_novelty rule=mahalanobis",
    "random_row",
    "random_transplant",
)
HONEST = (
    "union",
    "union rule=margin",
    "union rule=guarded",
    "distill_strokes",
    "distill data=au",
    "distill data=a",
    "distill data=s",
    "ridge_last data=s",
    "ridge_last data=au",
    "ridge_all data=s",
    "ridge_all data=a",
    "ridge_all data=u",
    "ridge_all data=s n_widened=4000 rule=guarded",
    "ridge_all data=au n_widened=6000 rule=guarded",
    "branch data=s",
    "branch data=a",
    "branch data=au",
    "branch layer=2 data=a",
    "rebasin match=weights take=row",
    "rebasin match=acts data=s take=row",
    "rebasin match=acts data=a take=cascade",
    "rebasin match=acts data=s take=average",
    "rebasin match=acts data=s take=average repair=true",
    "relative data=s",
    "relative data=u",
    "average",
    "task_arithmetic scale=0.3",
    "task_arithmetic scale=1.0",
    "ties",
    "probe_last k=1",
    "probe_last k=5",
    "probe_last k=20",
    "probe_last k=0",
    "probe_all k=1",
    "probe_all k=5",
    "probe_all k=20",
    "finetune k=20",
    "finetune k=0",
)
GRIDS: dict[str, list[str]] = {
    "precomputed_alignment": [
        f"form={form} width={width} sparsity={sparsity}"
        for form, width, sparsity in (
            ("gate", 32, 0.03),
            ("gate", 32, 0.05),
            ("gate", 32, 0.08),
            ("gate", 48, 0.03),
            ("gate", 48, 0.05),
            ("gate", 48, 0.08),
            ("gate", 64, 0.03),
            ("gate", 64, 0.05),
            ("gate", 64, 0.08),
            ("delta", 48, 0.05),
            ("rank1", 48, 0.05),
            ("lowrank", 48, 0.05),
            ("bias", 48, 0.05),
        )
    ],
    "neural_alignment": [
        f"map={kind} layers={layers}"
        for kind in ("linear", "mlp", "orthogonal")
        for layers in ("last", "all")
    ],
    "concept_dimension": [
        f"width={width} sparsity={sparsity}"
        for width in (8, 12, 16, 20, 24, 32, 48, 64, 96)
        for sparsity in (0.03, 0.05, 0.08)
    ],
    "sparsity_optimization": [
        f"sparsity={s}" for s in (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.15, 0.2, 0.3)
    ],
    "hierarchical": [
        f"levels={levels}" for levels in ("48,24", "64,32", "72,36,18", "96,48,24", "80,40,20,10")
    ],
    "multi_concept": [
        "source=4 install=4",
        "source=4,5 install=4",
        "source=4 install=4,5",
        "source=4,5 install=4,5",
    ],
    "adversarial": [f"epsilon={e}" for e in (0.05, 0.1, 0.15, 0.2, 0.3)],
    "universal": [f"width={width} n_architectures={n}" for width, n in ((32, 3), (48, 3), (64, 4), (96, 5))],
    "continual": ["order=4", "order=4,5", "order=5,4", "order=4,5 parallel=true"],
}


def method_names() -> list[str]:
    """Files of the methods folder, without importing them."""
    return sorted(m.name for m in pkgutil.iter_modules([str(METHOD_FOLDER)]) if not m.name.startswith("_"))


def known_method(text: str) -> str:
    """The text as it is, if its first word is a graft method."""
    name = text.split()[0] if text.split() else text
    if name not in method_names():
        raise ValueError(f"there is no graft method '{name}'. {nearest(name, method_names())}")
    return text


class TaskConfig(Config):
    """Who knows what, on which images, and how the networks are trained."""

    seed: int = Field(0, ge=0, description="seed of everything random")
    seeds: int = Field(1, gt=0, description="pairs, each freshly trained, that results are averaged over")
    data: ImageSet = Field("digits", description="image set: digits, mnist, fashion_mnist, ...")
    old: list[int] = Field([0, 1, 2, 3], min_length=1, description="classes that the receiver knows")
    shared: list[int] = Field([2, 3], description="classes that both know")
    new: list[int] = Field([4], min_length=1, description="classes that the donor alone knows and are moved")
    foreign: list[int] = Field([5], description="classes that the donor alone knows and are not moved")
    pairs: list[tuple[Network, Network]] = Field(
        [("simple", "simple")], min_length=1, description="receiver and donor by network name"
    )
    epochs: float = Field(8, gt=0, description="training passes over a network's own images")
    batch: int = Field(256, gt=0, description="images per training step")
    lr: float = Field(1e-3, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay of Adam")
    least_steps: int = Field(400, gt=0, description="training steps at least, however few the images")
    rate: float = Field(0.02, gt=0, lt=1, description="share of old images called new after calibration")
    held: float = Field(
        0.16, gt=0, lt=0.5, description="share of every class kept for calibration and validation"
    )
    max_train: int = Field(0, ge=0, description="at most so many training images per class; 0 for all")
    workers: int = Field(2, ge=1, description="processes; results do not depend on it")

    @model_validator(mode="after")
    def _classes_make_sense(self) -> "TaskConfig":
        if set(self.new) & set(self.old):
            raise ValueError(f"class {min(set(self.new) & set(self.old))} is both old and new")
        if stray := set(self.shared) - set(self.old):
            raise ValueError(f"shared class {min(stray)} is not among the old classes")
        return self


class GridConfig(Config):
    """One method and the settings to choose from."""

    method: str = Field(description="method name")
    options: list[str] = Field(min_length=1, description='option sets, such as "width=32 sparsity=0.05"')

    @field_validator("method")
    @classmethod
    def _method_exists(cls, value: str) -> str:
        return known_method(value)


class CompareConfig(TaskConfig):
    """Methods side by side, each with its noise ablation, beside the nulls."""

    methods: list[str] = Field(
        ["union", "distill"], description='methods with options, such as "ridge_all data=au"'
    )
    grids: list[GridConfig] = Field(
        [], description="methods with settings; the best on the validation split is reported on the test set"
    )
    select_seeds: int = Field(1, gt=0, description="couples whose validation split chooses among settings")
    ceiling: bool = Field(True, description="map at which layer the new class can still be read")
    geometry: str = Field("distill", description="the method whose feature space is drawn before and after")

    @field_validator("methods", mode="before")
    @classmethod
    def _named_sets(cls, value: Any) -> Any:
        """`surgery`, `nulls` and `honest` stand for lists."""
        sets = {"@surgery": SURGERY, "@nulls": NULLS, "@honest": HONEST}
        if not isinstance(value, list):
            return value
        return [m for entry in value for m in sets.get(entry, (entry,))]

    @field_validator("grids", mode="before")
    @classmethod
    def _framework(cls, value: Any) -> Any:
        """`@framework` stands for the nine methods with the original's grids."""
        if not isinstance(value, list):
            return value
        nine = [{"method": k, "options": v} for k, v in GRIDS.items()]
        return [g for entry in value for g in (nine if entry == "@framework" else [entry])]

    @field_validator("methods")
    @classmethod
    def _methods_exist(cls, value: list[str]) -> list[str]:
        return [known_method(v) for v in value]


class AuditConfig(TaskConfig):
    """The published protocol beside the honest one."""


class ForensicsConfig(TaskConfig):
    """Grafts planted and looked for, from the weights alone."""

    share: float = Field(
        1 / 16, gt=0, lt=0.5, description="share of the rows of every layer that is replaced"
    )
    tuned_epochs: float = Field(2, ge=0, description="passes of fine-tuning after planting")
    tuned_lr: float = Field(1e-4, gt=0, description="learning rate of that fine-tuning")


class DictionariesConfig(TaskConfig):
    """Sparse autoencoders of every kind on the receiver's penultimate features, as one ensemble."""

    widths: list[int] = Field([32, 64], min_length=1, description="codes")
    penalties: list[float] = Field([0.02, 0.1], min_length=1, description="sparsity of penalized kinds")
    counts: list[int] = Field([4, 8], min_length=1, description="open codes of the top-k kinds")
    members: int = Field(2, gt=0, description="seeds of each")
    steps: int = Field(300, gt=0, description="gradient steps")


CONFIGS: dict[str, type[Config]] = {
    "compare": CompareConfig,
    "audit": AuditConfig,
    "forensics": ForensicsConfig,
    "dictionaries": DictionariesConfig,
}
