"""One dictionary of 32 codes for both networks, by its sparsity (framework method 4)."""

from digsite.config import Field
from digsite.graft.core.methods import concept_dimension
from digsite.graft.core.methods.concept_dimension import apply, budget, message

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(concept_dimension.Options):
    sparsity: float = Field(0.02, ge=0, description="penalty on the mean code")
