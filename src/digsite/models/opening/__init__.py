"""One way to open a model: from a reference to weights, a module that runs, and how it is fed.

Whoever brings a model names it once; this folder finds out what it is. The parts are kept apart because they
fail for different reasons: no weights, no module for them, nothing that fits as input. Each failure is one
sentence.
"""

from digsite.models.opening.answering import answer_for_a_while, answer_one_input, fed_by_rows, main_output
from digsite.models.opening.feeding import (
    feed_images,
    feed_sound,
    feed_tokens,
    one_batch,
    read_arrays,
    take_data,
)
from digsite.models.opening.huggingface import one_sentence, quiet_libraries
from digsite.models.opening.opened import Opened, locate_model, of_module, open_model

__all__ = [
    "Opened",
    "answer_for_a_while",
    "answer_one_input",
    "fed_by_rows",
    "feed_images",
    "feed_sound",
    "feed_tokens",
    "locate_model",
    "main_output",
    "of_module",
    "one_batch",
    "one_sentence",
    "open_model",
    "quiet_libraries",
    "read_arrays",
    "take_data",
]
