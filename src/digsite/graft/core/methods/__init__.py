"""Ways to graft: a class for every name, found by its base; the names that are settings of one idea share a file.

To add one, drop a file here with a class that derives from `GraftMethod`. It gets its noise ablation for nothing, and the
contract test checks that it keeps to its budget. A name that only presets another one's settings is a class with a `PRESET`.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from digsite.config import Config
from digsite.config.model import read_words

if TYPE_CHECKING:
    from torch import nn

    from digsite.graft.core.pair import Message, Side


class NoSettings(Config):
    """Nothing to choose."""


class GraftMethod(ABC):
    """One way to move what a donor knows into a receiver.

    The donor's side packs a message, the receiver's side works with nothing but that message and the images of the budget.
    """

    Settings: ClassVar[type[Config]] = NoSettings
    PRESET: ClassVar[str] = (
        ""  # of its idea's settings, such as "layers=last": what makes a published name of it
    )
    SAME_SHAPE: ClassVar[bool] = False  # receiver and donor must be of one architecture
    NEEDS_START: ClassVar[bool] = False  # both must come from one common start
    DONORLESS: ClassVar[bool] = False  # nothing crosses, so noise in the donor's place is the method itself
    GROUP: ClassVar[str] = ""  # the set it is studied in: surgery, injection, honest, null
    STUDIED: ClassVar[tuple[str, ...]] = (
        "",
    )  # the settings that its set tries; of an injection the original's grid

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @classmethod
    def read_settings(cls, options: dict[str, Any]) -> Config:
        """`options` (text or values by name) over the preset, checked."""
        preset = dict(word.split("=", 1) for word in cls.PRESET.split())
        return cls.Settings.model_validate(read_words(cls.Settings, {**preset, **options}))

    @classmethod
    def find_idea(cls) -> type["GraftMethod"]:
        """The class whose settings this one presets; itself where it presets nothing."""
        return cls.__bases__[0].find_idea() if cls.PRESET else cls  # pyright: ignore[reportAttributeAccessIssue]

    @abstractmethod
    def declare_budget(self) -> str:
        """The letters of all that the method may read; a read beyond them raises."""

    @abstractmethod
    def take_message(self, donor: "Side") -> "Message":
        """Everything that crosses: named tensors from the `donor`'s side, which cannot see the receiver's weights."""

    @abstractmethod
    def apply_message(self, receiver: "Side", message: "Message") -> "nn.Module":
        """The grafted model: a copy of the `receiver`'s, or the receiver with a part beside it."""


Member = GraftMethod
