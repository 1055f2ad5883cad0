"""The one rule of public methods: they take checked arrays, and answer with finite numbers, a named hole, or one sentence.

    @public_method(activations=Numbers(axes=2, rows=2), labels=Numbers(axes=1, whole=True))
    def activation_selectivity(activations, labels, generator): ...

What is declared is checked before the method starts: that an argument is a tensor or an array, of how many axes, how long
the first is, that nothing is empty, NaN or infinite. What no declaration foresees (two shapes that do not fit each other, a
word where a model belongs) still ends in one sentence that names every argument, with the first error as its cause. A result
may hold NaN only under the names in `holes`, of which the docstring says what NaN stands for; every other NaN is refused.

The rule holds at the edge of the house: a call from inside it goes straight to the method, because a study knows what it passes
on and what a hole means to it (a network that ran away among a thousand), and pays for no check twice.

Tensors and arrays are recognized by what they can do, so that this file imports neither library.
"""

import errno
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Any, ParamSpec, TypeVar

from digsite.base.errors import UsageError, name_nearest

P = ParamSpec("P")
R = TypeVar("R")
# Only these very types: a subclass is somebody's own exception, raised on purpose by a model or a callback of theirs.
_RAW = (
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    RuntimeError,
    ZeroDivisionError,
    OverflowError,
    FloatingPointError,
    AssertionError,
    NotImplementedError,
    RecursionError,
    UnicodeError,
    StopIteration,
    BufferError,
)
_DEPTH = 6  # of a result that is looked through for NaN


@dataclass(frozen=True)
class Numbers:
    """What an array argument must be; `axes` None takes any number of them."""

    axes: int | tuple[int, ...] | None = None
    rows: int = 1  # least length of the first axis
    whole: bool = False  # whole numbers or truth values
    optional: bool = False  # may be None
    finite: bool = True
    arrays_only: bool = (
        True  # False: other things (a bundle of statistics, a packed mask) are the method's own matter
    )

    def find_fault(self, value: Any) -> str:
        """What is wrong with a value, as the end of a sentence; empty when nothing is."""
        if value is None:
            return "" if self.optional else "is missing (None)"
        if not is_array(value):
            return f"must be a tensor or an array, not {_name_value(value)}" if self.arrays_only else ""
        shape, kind = tuple(value.shape), str(value.dtype)
        accepted = (self.axes,) if isinstance(self.axes, int) else self.axes
        if accepted is not None and len(shape) not in accepted:
            return f"must have {' or '.join(map(str, accepted))} axes, not {len(shape)} (shape {list(shape)})"
        if 0 in shape:
            return f"is empty (shape {list(shape)})"
        if shape and shape[0] < self.rows:
            return f"has {shape[0]} rows, but at least {self.rows} are needed"
        if getattr(value, "is_sparse", False) or getattr(value, "is_quantized", False):
            return "is a sparse or quantized tensor; make it dense first"
        if not any(word in kind for word in ("float", "int", "bool")):
            return f"holds {kind} instead of real numbers"
        if self.whole and "float" in kind:
            return f"must hold whole numbers, not {kind}"
        return "holds NaN or infinite numbers" if self.finite and not is_finite(value) else ""


def public_method(
    *, holes: Sequence[str] = (), **declared: Numbers
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function as public and hold it to the rule; `declared` says what its array arguments must be.

    `holes` are the names of fields, keys or columns of the result that may be NaN, or `*` for all of them.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        shape = signature(function)
        assert not holes or "NaN" in (function.__doc__ or ""), (
            f"{function.__name__} does not say what NaN means"
        )

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            if sys._getframe(1).f_globals.get("__name__", "").startswith("digsite."):
                return function(*args, **kwargs)
            given = _bind_arguments(function, shape, args, kwargs)
            for name, rule in declared.items():
                if name in given and (fault := rule.find_fault(given[name])):
                    raise UsageError(f"{function.__name__}: '{name}' {fault}.")
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                if not (type(error) in _RAW or _is_numerical(error) or _is_refusal(error)):
                    raise
                said = " ".join(str(error).split())[:300] or type(error).__name__
                message = f"{function.__name__} cannot work with {_list_given(given)}: {said.rstrip('.')}."
                raise UsageError(message) from error
            if "*" not in holes and any(_is_nan(v) for name, v in numbers_in(result) if name not in holes):
                raise UsageError(
                    f"{function.__name__} has no finite answer for {_list_given(given)}: the numbers in it are constant, too few or "
                    "too extreme."
                )
            return result

        checked.__public_method__ = True  # pyright: ignore[reportAttributeAccessIssue]
        return checked

    return wrap


def _bind_arguments(function: Callable, shape: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    refuse_unknown(function.__name__, shape.parameters, kwargs)
    try:
        return shape.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise UsageError(f"{function.__name__}: {error}.") from None


def refuse_unknown(who: str, known: Mapping[str, Parameter], named: Iterable[str]) -> None:
    """A mistyped keyword is answered with the nearest one, as on the command line.

    `known` are the parameters of the function `who`, `named` the keywords that were given. Whoever takes any keyword
    checks them itself.
    """
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in named:
        if name not in known:
            raise UsageError(f"{who} takes no '{name}'. {name_nearest(name, known)}")


def is_array(value: Any) -> bool:
    """Whether a value is a tensor or an array."""
    return (
        hasattr(value, "shape")
        and hasattr(value, "dtype")
        and hasattr(value, "ndim")
        and not isinstance(value, type)
    )


def is_finite(value: Any) -> bool:
    """Whether an array holds neither NaN nor an infinity."""
    if "float" not in str(value.dtype) or 0 in tuple(value.shape):
        return True
    # NaN and infinities are among the extremes, which cost a seventieth of a mask of as many truth values.
    extremes = value.detach().aminmax() if hasattr(value, "aminmax") else (value.min(), value.max())
    return all(math.isfinite(extreme) for extreme in extremes)


def numbers_in(result: Any, name: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    """The arrays and floats of a result with the last name on the way to each, through containers, dataclasses and tables."""
    if is_array(result) or isinstance(result, float):
        if "object" not in str(getattr(result, "dtype", "")):
            yield name, result
        return
    if not depth:
        return
    if is_dataclass(result) and not isinstance(result, type):
        parts = [(field.name, getattr(result, field.name, None)) for field in fields(result)]
    elif isinstance(result, dict):
        parts = [(str(key), value) for key, value in result.items()]
    elif isinstance(result, list | tuple):
        parts = [(name, value) for value in result]
    elif hasattr(result, "items") and hasattr(result, "to_numpy"):  # a table, or one column
        parts = [(str(key), value) for key, value in result.items()]
    else:
        return
    for key, value in parts:
        yield from numbers_in(value, key, depth - 1)


def _is_nan(value: Any) -> bool:
    if isinstance(value, float):
        return value != value
    return "float" in str(value.dtype) and bool((value != value).any())


def _is_numerical(error: Exception) -> bool:
    """What the numerical libraries raise in types of their own."""
    return type(error).__name__ in (
        "LinAlgError",
        "_LinAlgError",
        "AxisError",
        "UFuncTypeError",
        "_UFuncNoLoopError",
    )


def _is_refusal(error: Exception) -> bool:
    """What the system says no to; a full disk is told by whoever writes, with what is whole."""
    return isinstance(error, OSError) and type(error).__module__ == "builtins" and error.errno != errno.ENOSPC


def _list_given(given: dict[str, Any]) -> str:
    return (
        ", ".join(f"{name} = {_name_value(value)}" for name, value in list(given.items())[:6])
        or "no arguments"
    )


def _name_value(value: Any) -> str:
    """A value in a few words: type and shape of arrays, a short form of everything else."""
    if is_array(value):
        return f"{type(value).__name__} of shape {list(value.shape)} and {value.dtype}"
    if value is None or isinstance(value, bool | int | float | str):
        return f"{value!r:.40}"
    return f"a {type(value).__name__}"
