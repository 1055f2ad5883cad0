"""What was published about these methods, and where each number came from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A claim in percent; `origin` says how the number came about."""

    method: str
    transfer: float
    preservation: float
    origin: str


MEASURED = "measured; fitted and scored on the same test images"
DRAWN = "drawn from a random generator with hand-set formulas, not measured"

LEGACY = (
    Published("direct_copy", 0.0, 99.0, "measured"),
    Published("procrustes_probe", 19.0, 95.0, "measured, best of a range"),
    Published("importance", 2.0, 95.0, "measured, best of a range"),
    Published("gradual_blend", 13.0, 85.0, "measured, best of a range"),
    Published("pathway", 3.0, 94.0, "measured, best of a range"),
    Published("activation_selective", 25.0, 98.0, "measured"),
    Published("cascade", 51.93, 94.11, "measured on one pair"),
    Published("gradient_injection", 100.0, 0.0, MEASURED),
    Published("preserved_injection", 0.2, 99.4, MEASURED),
    Published("vector_space", 49.6, 97.0, MEASURED),
    Published("cross_vector", 28.2, 99.0, MEASURED),
    Published("aligned_spatial", 87.4, 97.2, MEASURED),
)
FRAMEWORK = (
    Published("precomputed_alignment", 56.1, 98.2, "mixture; its headline entry is exactly a generator draw"),
    Published("neural_alignment", 42.2, 98.7, DRAWN),
    Published("concept_dimension", 56.1, 99.8, DRAWN),
    Published("sparsity_optimization", 42.2, 100.0, DRAWN),
    Published("hierarchical", 39.5, 98.8, DRAWN),
    Published("multi_concept", 35.4, 95.9, DRAWN),
    Published("adversarial", 31.3, 97.5, DRAWN),
    Published("universal", 18.1, 101.6, DRAWN),
    Published("continual", 35.8, 98.1, DRAWN),
)
CLAIMS = {p.method: p for p in (*LEGACY, *FRAMEWORK)}
