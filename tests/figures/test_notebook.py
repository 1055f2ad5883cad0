"""Cards for notebooks."""

from digsite.figures import histogram
from digsite.figures.style import notebook_card


def test_nothing_in_a_card_becomes_markup():
    html = notebook_card("<script>", {"<b>": "<i>"})
    assert "<script>" not in html and "<b>:" not in html and "&lt;i&gt;" in html


def test_a_figure_travels_inside():
    html = notebook_card("title", {"n": 3}, histogram({"a": [1, 2, 3]}, x="value"))
    assert 'src="data:image/png;base64,iVBOR' in html
