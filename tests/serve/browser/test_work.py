"""What a visitor does at the desk, in a real Chromium, with scripts and without: columns, marks, trash, settings, charts, copies."""

import pytest

from digsite.record.layout import RunDir
from digsite.record.listing import move_to_trash

pytestmark = pytest.mark.browser
with_and_without_scripts = pytest.mark.parametrize("scripts", [True, False])


@with_and_without_scripts
def test_columns_groups_and_colors_stand_in_the_address(open_page, scripts):
    page = open_page("/?study=showcase", java_script_enabled=scripts)
    assert page.locator("table.runs thead th", has_text="lr").count() == 0
    page.click("details.axes summary")
    page.check("input[name=col][value=lr]")
    page.select_option("select[name=group]", "lr")
    page.select_option("select[name=color]", "state")
    if not scripts:
        page.click("#filters button[type=submit]")
    page.wait_for_selector("table.runs thead th:has-text('lr')")
    assert {"col=lr", "group=lr", "color=state"} <= set(page.url.partition("?")[2].split("&"))
    groups = page.locator("table.runs tbody th").all_inner_texts()
    again = open_page("/" + page.url.partition("/?")[2].join(["?", ""]), java_script_enabled=scripts)
    assert again.locator("table.runs tbody th").all_inner_texts() == groups
    assert any("0.03" in group for group in groups)


@with_and_without_scripts
def test_marks_are_kept_and_shown_as_text(writable, open_page, newest, scripts):
    _, address = writable
    page = open_page(newest("showcase"), at=address, java_script_enabled=scripts)
    page.fill("input[name=add]", "good, again")
    page.fill("textarea[name=note]", "<b>bold</b> <script>document.title = 'no'</script>")
    page.click("form.marks button[type=submit] >> nth=0")
    assert page.locator("#marks .tag").all_inner_texts() == ["good", "again"]
    assert page.locator("#marks .note").inner_text().startswith("<b>bold</b>") and page.title() != "no"
    page.click("form.marks button[name=star]")
    assert page.locator("#marks .marks").first.inner_text().startswith("★ starred")
    tagged = open_page("/?tag=good", at=address, java_script_enabled=scripts)
    assert tagged.locator("table.runs tbody tr").count() == 1
    page.fill("input[name=remove]", "good")
    page.click("form.marks button[type=submit] >> nth=0")
    assert page.locator("#marks .tag").all_inner_texts() == ["again"]
    assert page.locator("#marks .note").inner_text().startswith("<b>bold</b>")


@with_and_without_scripts
def test_a_run_comes_back_from_the_trash(writable, open_page, newest, scripts):
    root, address = writable
    run = newest("tms_5-2")
    move_to_trash(RunDir(root / run.removeprefix("/runs/")))
    page = open_page("/trash", at=address, java_script_enabled=scripts)
    assert page.locator("table.runs tbody tr").count() == 1
    page.click("button:has-text('Bring back')")
    page.wait_for_selector("p.empty")
    assert open_page(run, at=address, java_script_enabled=scripts).locator("#found").count() == 1


@with_and_without_scripts
def test_other_settings_become_a_command(open_page, newest, scripts):
    page = open_page(newest("showcase") + "/again", java_script_enabled=scripts)
    page.fill("input[name='set:lr']", "0.5")
    page.click("form.again button[type=submit]")
    assert "lr=0.5" in page.locator("p.command code").inner_text()
    assert page.locator("p.lead").inner_text() == "1 setting changed: lr."
    page.click("text=As it was")
    assert "lr=0.5" not in page.locator("p.command code").inner_text()


@with_and_without_scripts
def test_a_figure_opens_large(open_page, newest, scripts):
    page = open_page(newest("showcase"), java_script_enabled=scripts)
    small = page.locator("figure.hero img").bounding_box()
    page.click("figure.hero a.large")
    if scripts:
        page.wait_for_selector("dialog[open]")
        assert page.locator("dialog[open] :is(img, svg)").first.bounding_box()["width"] > small["width"]
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0
    else:
        assert "/files/" in page.url


def test_a_command_is_copied(open_page, newest):
    page = open_page(newest("showcase"), permissions=["clipboard-read", "clipboard-write"])
    page.click("#again button.copy")
    page.wait_for_selector("#again button.copy:has-text('copied')")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#again code.command").inner_text()


def test_a_setting_is_searched(open_page, newest):
    page = open_page(newest("showcase"))
    page.click("#config summary")
    settings = page.locator("#config .config > div:visible")
    before = settings.count()
    page.fill("#find-setting", "lr")
    assert 0 < settings.count() < before
    page.fill("#find-setting", "")
    assert settings.count() == before


def saved_columns(page):
    """What a chart saves as CSV, line by line."""
    with page.expect_download() as download:
        page.locator(".chart-menu[open] button:has-text('CSV')").first.click()
    return download.value.path().read_text().splitlines()


def test_a_chart_is_smoothed_zoomed_and_saved(open_page, newest):
    page = open_page(newest("showcase"))
    page.locator("#metrics summary").first.click()
    page.wait_for_selector("#metrics .uplot canvas")
    page.locator("#metrics .chart-menu summary").first.click()
    raw = saved_columns(page)
    page.locator("#metrics .chart-menu[open] input[type=range]").first.fill("0.9")
    smooth = saved_columns(page)
    head = raw[0].split(",")
    assert smooth[0].split(",")[: len(head)] != smooth[0].split(",") and f"{head[1]} itself" in smooth[0]
    itself = smooth[0].split(",").index(f"{head[1]} itself")
    assert [line.split(",")[itself] for line in smooth[1:]] == [line.split(",")[1] for line in raw[1:]]
    page.locator("#metrics .chart-menu[open] input[type=range]").first.fill("0")
    page.click("#metrics .chart-menu[open] button[data-key=logY]")
    assert (
        page.locator("#metrics .chart-menu[open] button[data-key=logY]").get_attribute("aria-pressed")
        == "true"
    )
    drawn = page.locator("#metrics .u-over").first
    drawn.drag_to(drawn, source_position={"x": 100, "y": 60}, target_position={"x": 220, "y": 62})
    page.locator("#metrics button.unzoom:visible").first.click()
    assert page.locator("#metrics button.unzoom:visible").count() == 0
    with page.expect_download() as download:
        page.locator("#metrics .chart-menu[open] button:has-text('PNG')").first.click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_another_run_stands_behind_the_curves(open_page, newest):
    page = open_page(newest("showcase"))
    page.locator("#metrics summary").first.click()
    page.wait_for_selector("#metrics .uplot canvas")
    before = page.locator("#metrics .u-series").count()
    beside = page.locator("select[aria-label=baseline]")
    beside.select_option(index=1)
    page.wait_for_function("n => document.querySelectorAll('#metrics .u-series').length > n", arg=before)
    beside.select_option("")
    page.wait_for_function("n => document.querySelectorAll('#metrics .u-series').length === n", arg=before)
