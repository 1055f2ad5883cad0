"""How numbers are written for people: as many digits as the interval supports, one style everywhere."""

import math
import re
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from digsite.record.results import Claim

NAME = 20  # characters of a setting's name that fit into any column


def show_number(value: float | None, digits: int = 4) -> str:
    """Four significant digits, thin spaces between thousands, no needless exponent."""
    if value is None:
        return "–"
    value = float(value)
    if not math.isfinite(value):
        return "not finite"
    if value.is_integer() and abs(value) < 1e9:
        return _true_minus(f"{int(value):,}".replace(",", "\u202f"))
    if abs(value) >= 1e6 or 0 < abs(value) < 1e-4:
        mantissa, exponent = f"{value:.{max(digits - 2, 1)}e}".split("e")
        return f"{_true_minus(mantissa)}×10{_as_superscript(int(exponent))}"
    said = len(repr(value).partition(".")[2])  # 0.5 is not 0.5000
    return fixed_digits(value, min(said, max(0, digits - 1 - _order_of(value))))


def fixed_digits(value: float, places: int) -> str:
    return _true_minus(f"{value:,.{places}f}".replace(",", "\u202f"))


def with_unit(text: str, unit: str) -> str:
    """A no-break space before the unit, none before a percent sign."""
    return f"{text}{unit}" if unit == "%" else f"{text}\u00a0{unit}" if unit else text


def round_number(value: float | None) -> str:
    """One significant digit, for what is only roughly so."""
    return "–" if value is None else show_number(float(f"{value:.1g}"), 1)


def claim_texts(claim: Claim) -> tuple[str, str, str]:
    """Value, interval and null with the same number of places: two digits of the interval's half width."""
    numbers = [v for v in (claim.value, claim.low, claim.high, claim.null) if v is not None]
    large = any(abs(v) >= 1e6 or 0 < abs(v) < 1e-4 for v in numbers)
    half = 0.0 if claim.low is None or claim.high is None else abs(claim.high - claim.low) / 2
    if large or half == 0 or not math.isfinite(half):
        show = show_number
    else:
        places = min(max(0, 1 - _order_of(half)), 8)
        while places < 8 and any(v and not round(v, places) for v in numbers):
            places += 1  # a bound just beside zero keeps its side

        def show(value: float | None) -> str:
            return "–" if value is None else fixed_digits(value, places)

    interval = "" if claim.low is None else f"{show(claim.low)} to {show(claim.high)}"
    value = with_unit(show(claim.value), claim.unit)
    return (
        value,
        interval,
        "" if claim.null is None else show_number(claim.null) if half == 0 else show(claim.null),
    )


def show_duration(seconds: float | None) -> str:
    if seconds is None or seconds < 0:
        return "–"
    if seconds < 100:
        return f"{seconds:.1f}\u00a0s" if seconds < 10 else f"{seconds:.0f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u00a0h {minutes:02d}\u00a0min" if hours else f"{minutes}\u00a0min {rest:02d}\u00a0s"


def show_moment(seconds: float | None) -> str:
    """UTC, to the minute, like the ids of runs."""
    if not seconds or not 0 < seconds < 2e11:  # beyond the year 8300 no date can be written
        return "–"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def iso_moment(seconds: float | None) -> str:
    """The same for machines, so that a page can say it in its reader's own time; nothing where there is none."""
    if not seconds or not 0 < seconds < 2e11:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show_size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000 or unit == "GB":
            break
        n_bytes /= 1000
    return f"{n_bytes:.3g}\u00a0{unit}"


def show_cell(text: str) -> str:
    """A number of a table in six digits; everything else as it is."""
    try:
        return f"{float(text):.6g}" if len(text) > 9 and "." in text else text
    except ValueError:
        return text


def break_name(name: Any) -> Markup:
    """A long name of parts, which may break after a dot, a slash or an underscore and nowhere inside of a word.

    Of a record that somebody edited a name may be anything.
    """
    text = str(escape(name))
    return Markup(re.sub(r"(?<=[._/])(?=\w)", "<wbr>", text) if len(text) > NAME else text)


def show_setting(value: Any) -> str:
    """A config value as it would be typed."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show_setting, value))}]"
    return repr(value) if isinstance(value, float) else str(value)


def _order_of(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _true_minus(text: str) -> str:
    return text.replace("-", "\u2212")


def _as_superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
