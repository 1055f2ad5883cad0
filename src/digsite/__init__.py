"""One workbench for the insides of neural networks."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Decomposition", "Run", "Zoo", "list_runs", "list_studies", "open_run", "run"]

if TYPE_CHECKING:
    from digsite.api import Run, list_runs, list_studies, open_run, run
    from digsite.decompose import Decomposition
    from digsite.zoo import Zoo

_HOMES = {"Decomposition": "digsite.decompose", "Zoo": "digsite.zoo"}


def __getattr__(name: str) -> Any:
    """Loaded when asked for: `import digsite` costs nothing and never imports torch."""
    import importlib

    if name in __all__:
        return getattr(importlib.import_module(_HOMES.get(name, "digsite.api")), name)
    raise AttributeError(f"module 'digsite' has no attribute '{name}'")
