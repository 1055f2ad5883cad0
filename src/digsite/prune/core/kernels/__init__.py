"""Two engines with the same integer answers: numpy everywhere, numba's compiled popcount where it is installed."""

import importlib
import importlib.util
import sys
from types import ModuleType

from digsite.base.errors import UsageError, require_package

ENGINES = ("auto", "portable", "compiled")
# Below this many word operations the import of the compiler costs more than the portable engine's whole work.
WORTH_COMPILING = 2_000_000


def pick_engine(name: str, work: int) -> ModuleType:
    """The module that does the counting; `auto` compiles when numba is there and the work is worth it."""
    if name not in ENGINES:
        raise UsageError(f"Unknown engine '{name}'; accepted are {', '.join(ENGINES)}.")
    if name == "compiled":
        require_package("numba", extra="fast")
    wanted = name == "compiled" or (name == "auto" and _compile_pays(work))
    return importlib.import_module(f"{__name__}.{'compiled' if wanted else 'portable'}")


def _compile_pays(work: int) -> bool:
    """Compiling takes seconds: worth it for large work, and free once it has been done in this process."""
    if f"{__name__}.compiled" in sys.modules:
        return True
    return work > WORTH_COMPILING and importlib.util.find_spec("numba") is not None
