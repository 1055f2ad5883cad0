"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.record.results import Claim
from digsite.report.numbers import (
    break_name,
    claim_texts,
    show_duration,
    show_moment,
    show_number,
    show_setting,
    show_size,
    with_unit,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (0.05, "0.05"),
        (2.5, "2.5"),
        (-2, "−2"),
        (12345, "12\u202f345"),
        (0.123456, "0.1235"),
        (1234.567, "1\u202f235"),
        (2.5e-7, "2.50×10⁻⁷"),
        (1.5e9 + 0.5, "1.50×10⁹"),
        (None, "–"),
        (float("nan"), "not finite"),
    ],
)
def test_number(value, text):
    assert show_number(value) == text


@given(st.floats(min_value=1e-4, max_value=1e6, allow_nan=False))
def test_four_digits_stay(value):
    back = float(show_number(value).replace("\u202f", ""))
    assert back == pytest.approx(value, rel=5.1e-4)


@pytest.mark.parametrize(
    ("claim", "texts"),
    [
        (Claim("a", 0.93214, 0.9301, 0.9342, 10, 0.1), ("0.9321", "0.9301 to 0.9342", "0.1000")),
        (Claim("a", 12.0, 8.0, 16.0, 3, 1.0, "%"), ("12.0%", "8.0 to 16.0", "1.0")),
        (Claim("a", 5.0), ("5", "", "")),
        (Claim("a", 1.0, 1.0, 1.0, 5, 0.4), ("1", "1 to 1", "0.4")),
        (Claim("a", 3e-9, 1e-9, 5e-9, 5, 0.0, "s"), ("3.00×10⁻⁹\u00a0s", "1.00×10⁻⁹ to 5.00×10⁻⁹", "0")),
        (Claim("a", None, null=0.5), ("–", "", "0.5")),
    ],
)
def test_a_claim_is_written_with_the_digits_of_its_interval(claim, texts):
    assert claim_texts(claim) == texts


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (3.21, "3.2\u00a0s"),
        (42, "42\u00a0s"),
        (125, "2\u00a0min 05\u00a0s"),
        (7260, "2\u00a0h 01\u00a0min"),
    ],
)
def test_duration(seconds, text):
    assert show_duration(seconds) == text


def test_a_name_breaks_between_its_parts_and_is_escaped():
    assert break_name("losses.recon_layer.lr") == "losses.<wbr>recon_<wbr>layer.<wbr>lr"
    assert break_name("recon_layer.lr") == "recon_layer.lr"  # fits anywhere
    assert break_name("<b>_a_long_name_of_it") == "&lt;b&gt;_<wbr>a_<wbr>long_<wbr>name_<wbr>of_<wbr>it"
    assert break_name(5) == "5"


def test_small_things():
    assert show_moment(0.0) == "–"
    assert show_moment(1e9) == "2001-09-09 01:46 UTC"
    assert show_size(12_345_678) == "12.3\u00a0MB"
    assert show_size(12) == "12\u00a0B"
    assert with_unit("5", "%") == "5%"
    assert show_setting([1e-3, True, None, "a"]) == "[0.001, true, null, a]"
