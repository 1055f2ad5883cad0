"""Where weights come from: one class per scheme of a reference."""

from abc import ABC, abstractmethod

from digsite.weights.bundle import WeightBundle


class Scheme(ABC):
    """One scheme, called as the class."""

    @staticmethod
    @abstractmethod
    def read_target(target: str, member: str) -> WeightBundle:
        """What `scheme:target#member` names; `member` is empty where the reference has none."""
        ...


Member = Scheme
