"""What other people's libraries print while they open or run a model stays with them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from digsite.base.errors import one_sentence

__all__ = ["one_sentence", "quiet_libraries"]


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Warnings, progress bars and load reports of transformers are held back; errors are exceptions anyway."""
    import sys

    logging = sys.modules.get("transformers.utils.logging")
    level = logging.get_verbosity() if logging else 0
    bars = bool(logging and logging.is_progress_bar_enabled())
    if logging:
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if logging:
            logging.set_verbosity(level)
            logging.enable_progress_bar() if bars else None
