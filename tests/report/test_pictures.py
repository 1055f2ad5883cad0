"""Figures inside of one file."""

import base64

from digsite.report import pictures as module
from digsite.report.pictures import data_uri, embed_pictures, find_pictures, group_albums, theme_svg


def test_vectors_unless_they_are_huge(tmp_path):
    (tmp_path / "a.svg").write_text("<svg/>")
    (tmp_path / "a.png").write_bytes(b"png")
    (tmp_path / "b.svg").write_bytes(b"x" * (module.SVG_LIMIT + 1))
    (tmp_path / "b.png").write_bytes(b"png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "v1.2.png").write_bytes(b"png")
    a, b, c = find_pictures(tmp_path)
    assert a.file == a.svg and b.file == b.png
    assert c.name == "sub/v1.2"
    assert data_uri(a) == "data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode()
    assert str(data_uri(b)).startswith("data:image/png;base64,")


def test_the_order_drawn_comes_before_the_alphabet(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(b"png")
    (tmp_path / "order.json").write_text('["c", "a", 7, "gone"]')
    assert [p.name for p in find_pictures(tmp_path)] == ["c", "a", "b", "d"]
    (tmp_path / "order.json").write_text("{broken")
    assert [p.name for p in find_pictures(tmp_path)] == ["a", "b", "c", "d"]


def test_a_report_stays_small_enough_to_mail(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUDGET", 250)
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"x" * 100)
    assert [p.name for p in embed_pictures(list(find_pictures(tmp_path)))] == ["a", "b"]


def test_no_folder_no_figures(tmp_path):
    assert find_pictures(tmp_path / "none") == ()


def test_many_figures_of_one_kind_come_after_those_that_stand_for_themselves(tmp_path):
    for name in ("maps/a", "maps/b", "maps/c", "maps/d", "few/e", "summary"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(b"png")
    loose, many = group_albums(find_pictures(tmp_path))
    assert sorted(p.name for p in loose) == ["few/e", "summary"]
    assert [p.name for p in many["maps"]] == ["maps/a", "maps/b", "maps/c", "maps/d"]


def test_a_figure_of_ours_follows_the_color_scheme_and_others_stay():
    ours = b"<svg><dc:title>digsite</dc:title><defs></defs><g/></svg>"
    assert theme_svg(ours).startswith(b"<svg><dc:title>digsite</dc:title><defs></defs><style>@media screen")
    assert theme_svg(b"<svg><defs></defs></svg>") == b"<svg><defs></defs></svg>"
    assert theme_svg(b"no svg") == b"no svg"
