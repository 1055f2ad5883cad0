"""Optional dependencies are looked for when they are needed, never at import."""

import importlib
from types import ModuleType

from digsite.base.errors import MissingExtra


def require(module: str, *, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise
        message = f"This needs the package '{module.split('.')[0]}', which is not installed."
        raise MissingExtra(message, hint=f"Install it: pip install 'digsite[{extra}]'") from None
