"""A real Chromium clicks through a real server: every page, live runs, zoomed masks, toggled components, no scripts."""

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("DIGSITE_SCREENSHOTS")  # a folder for people to look at; none by default


def shot(page, name):
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def ready(page):
    page.wait_for_selector(".matrix canvas[data-ready=true]")


def test_filter_sort_and_open(open_page, root):
    page = open_page("/")
    rows = page.locator("table.runs tbody tr")
    assert rows.count() == 8
    page.fill("input[name=q]", "tms")
    page.wait_for_function("() => document.querySelectorAll('table.runs tbody tr').length === 1")
    assert page.url.endswith("?q=tms")
    page.fill("input[name=q]", "")
    page.fill("input[name=where]", "lr=0.03")
    page.wait_for_function("() => document.querySelectorAll('table.runs tbody tr').length === 2")
    page.fill("input[name=where]", "")
    page.select_option("select[name=study]", "showcase")
    page.wait_for_function("() => document.querySelectorAll('table.runs tbody tr').length === 5")
    page.click("th >> text=run")
    shot(page, "runs")
    page.click("table.runs tbody tr:first-child td.mono a")
    assert page.locator("h1").inner_text().startswith("How many sparse features")


def test_every_kind_of_view_is_drawn(open_page, newest):
    page = open_page(newest("showcase"))
    page.locator("#metrics summary").click()
    page.wait_for_selector(".charts .uplot canvas")
    page.evaluate("document.querySelectorAll('details.more').forEach((folded) => { folded.open = true; })")
    views = page.locator(".view")
    for i in range(views.count()):
        views.nth(i).scroll_into_view_if_needed()
        kind = views.nth(i).get_attribute("data-kind")
        drawn = {
            "table": "tbody tr",
            "graph": "svg.graph circle",
            "image": ".pictures canvas",
            "matrix": "canvas[data-ready=true]",
        }
        views.nth(i).locator(drawn.get(kind, ".uplot canvas")).first.wait_for()
    assert page.locator(".stage .note", has_text="cannot be drawn").count() == 0
    shot(page, "run")


@pytest.mark.parametrize("study", ["tms_5-2", "mlp-digits", "lm_mlp", "showcase"])
def test_a_finished_page_is_no_longer_than_four_screens(open_page, newest, study):
    """At most 4,000 pixels at 1440, everything loaded; what is folded opens by click."""
    page = open_page(newest(study), viewport={"width": 1440, "height": 900})
    for _ in range(8):
        page.mouse.wheel(0, 600)
        page.wait_for_timeout(150)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollHeight") <= 4000
    assert page.locator("#found .lead-claim, #found .empty").first.is_visible()
    folded = page.locator("#config summary")
    folded.click()
    assert page.locator("#config dl").is_visible()


def test_what_is_folded_is_there_without_scripts(open_page, newest):
    page = open_page(newest("showcase"), java_script_enabled=False)
    assert not page.locator("#metrics a").is_visible()
    page.locator("#metrics summary").click()
    assert page.locator("#metrics a").inner_text() == "metrics.jsonl"
    page.locator("#views details.more summary").click()
    assert page.locator("#views .view a").last.is_visible()


def test_a_graph_and_a_table_answer_to_keys(open_page, newest):
    page = open_page(newest("showcase") + "/views/who%20disturbs%20whom")
    page.locator("svg.graph g[tabindex]").nth(1).focus()
    assert "edges" in page.locator(".readout").inner_text()
    page = open_page(newest("showcase") + "/views/overlaps")
    page.locator("th button", has_text="inner product").press("Enter")
    page.wait_for_selector("th[aria-sort=ascending]")
    cells = [float(t) for t in page.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert cells == sorted(cells)


def test_a_mask_is_zoomed_to_its_cells_and_neighbors_are_shown(open_page, newest):
    page = open_page(newest("showcase") + "/views/mask")
    ready(page)
    canvas = page.locator(".matrix canvas")
    assert int(canvas.get_attribute("data-level")) >= 1
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(6):
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(60)
    page.wait_for_selector(".matrix canvas[data-level='0'][data-ready=true]")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".neighbors table >> nth=1", state="attached")
    assert "expected by chance" in page.locator(".neighbors").first.inner_text()
    assert re.match(r"row \d+, column \d+: [01]", page.locator("p.readout[role=status]").inner_text())
    page.mouse.down()
    page.mouse.move(box["x"] + 50, box["y"] + 50, steps=4)
    page.mouse.up()
    ready(page)
    shot(page, "mask")


def test_named_rows_carry_their_names(open_page, newest):
    page = open_page(newest("showcase") + "/views/W")
    ready(page)
    assert page.locator(".row-names span").first.inner_text() == "unit 0"
    page.locator("label", has_text="rows by").locator("select").select_option("size")
    page.wait_for_function("() => document.querySelectorAll('.row-names span').length === 0")


def test_two_masks_and_their_difference_move_together(open_page, newest):
    page = open_page(newest("showcase") + "/views/two%20masks")
    page.wait_for_function("() => document.querySelectorAll('.panels canvas[data-ready=true]').length === 3")
    panels = page.locator(".panels figure")
    assert "differ in" in panels.nth(2).locator(".readout[role=status]").inner_text()
    panels.nth(0).locator(".matrix canvas").press("+")
    panels.nth(0).locator(".matrix canvas").press("Enter")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.panels .readout[role=status]')].every((p) => /^row \\d+, column \\d+: .?[01]/.test(p.textContent))"
    )
    told = [text.partition(":") for text in page.locator(".panels .readout[role=status]").all_inner_texts()]
    assert len({where for where, _, _ in told}) == 1
    a, b, difference = (int(value.strip().replace("\u2212", "-").split()[0]) for _, _, value in told)
    assert difference == a - b
    shot(page, "two-masks")


@pytest.mark.parametrize("scripts", [True, False])
def test_masks_of_two_runs_are_compared(open_page, root, scripts):
    runs = sorted(p.name for p in (root / "showcase").iterdir() if not p.name.startswith("20"))[:2]
    page = open_page(
        "/compare?" + "&".join(f"run=showcase/{name}" for name in runs), java_script_enabled=scripts
    )
    if not scripts:
        assert page.locator("#masks .empty a").first.get_attribute("href").startswith("/runs/showcase/")
        page.select_option("#masks select[name=mask]", "two masks: a")
        page.click("#masks button[type=submit]")
        assert page.locator("#masks .view").get_attribute("data-view") == "two masks: a"
        return
    page.locator("#masks").scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelectorAll('#masks canvas[data-ready=true]').length === 4")
    told = page.locator("#masks .readout[role=status]").all_inner_texts()
    assert ["differ in" in text for text in told] == [False, False, True, True]
    page.locator("#masks canvas").first.press("Enter")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#masks .readout[role=status]')].every((p) => p.textContent.startsWith('row '))"
    )
    shot(page, "compared-masks")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_checkpoint_is_read(open_page, tmp_path, scripts):
    """Dropped onto the page, or chosen in the form where there are no scripts."""
    import numpy as np

    rng, file = np.random.default_rng(0), tmp_path / "net.npz"
    shapes = {"0.weight": (8, 12), "0.bias": (8,), "2.weight": (4, 8), "2.bias": (4,)}
    np.savez(file, **{name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()})
    page = open_page("/read", java_script_enabled=scripts)
    if scripts:
        drop_file(page, file)
    else:
        page.set_input_files("input[type=file]", file)
        page.click("button[type=submit]")
    page.wait_for_selector("#found")
    assert page.locator("h1").inner_text() == "net.npz"
    assert page.locator(".answers dt").count() == 4
    shot(page, "read" if scripts else "read-without-scripts")


def drop_file(page, file):
    """As a person would: Chromium gives pages a file only with its bytes."""
    data = page.evaluate_handle(
        "([name, bytes]) => { const d = new DataTransfer(); d.items.add(new File([new Uint8Array(bytes)], name)); return d; }",
        [file.name, list(file.read_bytes())],
    )
    for kind in ("dragover", "drop"):
        page.dispatch_event("main", kind, {"dataTransfer": data})


def test_a_mask_sorted_by_cluster_looks_sorted(open_page, newest):
    page = open_page(newest("showcase") + "/views/mask")
    ready(page)
    before = page.locator(".matrix canvas").evaluate("c => c.toDataURL()")
    page.locator("label", has_text="rows by").locator("select").select_option("cluster")
    page.wait_for_function("b => document.querySelector('.matrix canvas').toDataURL() !== b", arg=before)
    ready(page)
    shot(page, "mask-sorted")


def test_a_matrix_answers_to_keys(open_page, newest):
    page = open_page(newest("showcase") + "/views/mask")
    ready(page)
    canvas = page.locator(".matrix canvas")
    canvas.focus()
    for key in ("+", "+", "+", "ArrowRight", "ArrowDown", "Enter"):
        canvas.press(key)
    page.wait_for_selector(".neighbors table >> nth=1", state="attached")
    canvas.press("0")
    ready(page)
    assert int(canvas.get_attribute("data-level")) >= 1


def test_switching_a_component_off_changes_the_outputs(open_page, newest):
    page = open_page(newest("tms_5-2") + "/views/components%20of%20linear1")
    page.wait_for_selector(".components .cell")
    readout = page.locator(".components .readout")
    assert "0 components off; largest change of an output 0." in readout.inner_text()
    page.locator(".components .cell").first.click()
    page.wait_for_function(
        "() => document.querySelector('.components .readout').textContent.includes('1 components off')"
    )
    page.fill("input[name=feature]", "3")
    page.wait_for_function(
        "() => document.querySelector('.components .readout').textContent.includes('input feature 3')"
    )
    page.locator("button", has_text="all off").press("Enter")
    page.wait_for_function(
        "() => document.querySelector('.components .readout').textContent.includes('20 components off')"
    )
    assert page.locator(".cell[aria-pressed=false]").count() == 20
    shot(page, "components")


def test_one_component_of_a_language_model_is_switched_off(open_page, root, newest):
    path = newest("lm_mlp")
    views = json.loads((root / path[6:] / "views.json").read_text())
    name = next(view["name"] for view in views if "kl" in view)
    page = open_page(f"{path}/views/{quote(name, safe='')}")
    page.wait_for_selector(".prompt .token")
    assert page.locator(".token.moved").count() == 0
    page.locator(".components .cell").first.click()
    page.wait_for_function(
        "() => document.querySelector('.components .readout').textContent.includes('off:')"
    )
    page.locator(".components .cell").nth(1).click()
    page.wait_for_function("() => document.querySelectorAll('.cell[aria-pressed=false]').length === 1")
    assert "answers change" in page.locator(".components .readout").inner_text()
    shot(page, "prompts")


def test_the_address_of_a_component_leads_to_its_view_also_where_that_is_folded(open_page, root, newest):
    run = newest("lm_mlp")
    views = json.loads((root / run.removeprefix("/runs/") / "views.json").read_text())
    page = open_page(f"{run}#{views[1]['name'].removeprefix('components of ')}/0")
    page.locator("#views .view").nth(1).locator(".cell").first.wait_for()
    assert page.locator("#views > details").get_attribute("open") is not None


def test_a_slider_goes_through_the_steps(open_page, newest):
    page = open_page(newest("showcase") + "/views/singular%20values%20while%20training")
    slider = page.get_by_role("slider", name="training step")
    slider.wait_for()
    before = page.locator(".uplot canvas").evaluate("c => c.toDataURL()")
    assert page.locator("output").inner_text() == "training step 30"
    for _ in range(3):
        slider.press("ArrowLeft")
    assert page.locator("output").inner_text() == "training step 0"
    page.wait_for_function("b => document.querySelector('.uplot canvas').toDataURL() !== b", arg=before)
    shot(page, "scrub")


def test_slices_of_a_matrix_are_chosen_by_name(open_page, newest):
    page = open_page(newest("showcase") + "/views/products")
    ready(page)
    before = page.locator(".matrix canvas").evaluate("c => c.toDataURL()")
    page.select_option("select[name=slice]", label="absolute")
    page.wait_for_function("b => document.querySelector('.matrix canvas').toDataURL() !== b", arg=before)


def test_ticked_runs_are_compared(open_page, root):
    page = open_page("/?study=showcase")
    for i in range(4):
        page.locator("input[name=run]").nth(i).check()
    page.click("text=Compare the ticked runs")
    page.wait_for_selector("[data-curves] .uplot canvas")
    page.check("#bands")
    page.wait_for_selector("text=2 seeds")
    frames = page.locator("[data-linked]").first.locator(".zoomable")
    frames.first.scroll_into_view_if_needed()
    frames.first.hover()
    page.mouse.wheel(0, -500)
    moved = frames.evaluate_all("all => new Set(all.map(f => f.firstElementChild.style.transform)).size")
    assert moved == 1 and "scale(1)" not in frames.first.locator("img").get_attribute("style")
    shot(page, "compare")


def test_at_most_eight_can_be_ticked(open_page, root, site):
    page = open_page("/")
    page.evaluate(
        "() => { const r = document.querySelector('table.runs tbody'); for (let i = 0; i < 4; i++) r.append(r.firstElementChild.cloneNode(true)); r.querySelectorAll('input').forEach((b, i) => b.value = 'x' + i); }"
    )
    boxes = page.locator("input[name=run]")
    for i in range(8):
        boxes.nth(i).check()
    assert boxes.nth(8).is_disabled()


def test_a_sweep_in_parallel_coordinates(open_page, root):
    page = open_page("/sweeps")
    page.click("main table a")
    page.wait_for_selector("svg.parallel path")
    assert page.locator("svg.parallel path").count() == 4
    axis = page.locator("svg.parallel rect[cursor]").first
    box = axis.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3, steps=4)
    page.mouse.up()
    assert page.locator("svg.parallel path.dim").count() == 2
    shot(page, "sweep")


def test_a_zoo_from_map_to_weights(open_page, root):
    page = open_page("/zoo")
    shot(page, "zoos")
    page.click("main table th a")
    page.wait_for_selector("svg.scatter circle")
    shot(page, "zoo")
    page.locator("svg.scatter a").nth(2).focus()
    assert "/zoo/" in page.locator(".readout").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_selector("canvas.weights")
    page.wait_for_selector(".uplot canvas")
    assert re.match(r"Member \d+", page.locator("h1").inner_text())
    shot(page, "member")


def test_a_running_run_moves_by_itself(open_page, root, start_digsite):
    job = start_digsite(
        "run",
        "showcase",
        "--smoke",
        "--quiet",
        "steps=150",
        "sleep_s=0.08",
        "label=live",
        root=root,
        stdout=subprocess.DEVNULL,
    )
    try:
        page = open_page("/?where=label%3Dlive")
        page.wait_for_selector(".state-running")
        page.wait_for_selector("table.runs progress")
        first = int(page.locator("table.runs progress").get_attribute("value"))
        page.wait_for_function(
            "f => Number(document.querySelector('table.runs progress')?.value) > f", arg=first
        )
        page.click("table.runs tbody td.mono a")
        page.wait_for_selector(".charts .uplot")
        seen = page.locator("#progress small").inner_text()
        page.wait_for_function("s => document.querySelector('#progress small').textContent !== s", arg=seen)
        shot(page, "running")
        assert job.wait(600) == 0
        page.wait_for_selector(".meta .state-finished")
        page.wait_for_selector(".verdict")
    finally:
        job.kill()


def compare_three(root):
    names = sorted(p.name for p in (root / "showcase").iterdir() if (p / "launch.yaml").exists())[:3]
    return f"/compare?{'&'.join(f'run=showcase/{name}' for name in names)}", names


def test_points_say_what_they_are_and_a_lasso_picks_them(open_page, root):
    path, names = compare_three(root)
    page = open_page(f"{path}&x=lr&y=loss")
    picture = page.locator("svg.plot")
    picture.scroll_into_view_if_needed()
    picture.locator("[data-point] .mark").first.hover(force=True)
    page.wait_for_selector(".tip:not([hidden])")
    assert "loss" in page.locator(".tip").inner_text() and "showcase/" in page.locator(".tip").inner_text()
    box = picture.bounding_box()
    corners = [
        (2, 2),
        (0.99 * box["width"], 2),
        (0.99 * box["width"], 0.98 * box["height"]),
        (2, 0.98 * box["height"]),
        (2, 4),
    ]
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
    page.mouse.up()
    assert page.locator(".picked-points").inner_text().startswith("3 picked")
    shot(page, "lasso")
    page.keyboard.press("Escape")
    assert page.locator(".chosen").count() == 0
    page.locator("svg.plot a").first.press("Enter")
    page.wait_for_url("**/runs/showcase/*")


def test_axes_are_chosen_and_stand_in_the_address(open_page, root):
    (sweep,) = (root / ".sweeps").iterdir()
    page = open_page(f"/sweeps/{sweep.name}")
    page.wait_for_selector("svg.parallel text.name")
    before = page.locator("svg.parallel text.name").count()
    page.click("details.axes summary")
    page.locator("details.axes input[type=checkbox]").nth(1).uncheck()
    page.locator("details.axes button").click()
    page.wait_for_function(
        "n => document.querySelectorAll('svg.parallel text.name').length === n", arg=before - 1
    )
    assert "axis=" in page.url
    page.select_option("#heat select[name=shade]", "loss")
    page.locator("#heat button").click()
    assert "axis=" in page.url and "shade=loss" in page.url
    assert page.locator("table.heat caption").inner_text().startswith("loss")


@pytest.mark.parametrize("path", ["/", "/sweeps", "/zoo", "/read", "run", "view", "table", "compare"])
def test_pages_work_without_scripts(open_page, newest, path):
    run = newest("showcase")
    named = {
        "run": run,
        "view": f"{run}/views/mask",
        "table": f"{run}/tables/overlaps",
        "compare": f"/compare?run={run[6:]}",
    }
    page = open_page(named.get(path, path), java_script_enabled=False)
    assert page.locator("nav.top a").count() == 6
    if path == "/":
        page.fill("input[name=q]", "showcase")
        page.click("text=Filter")
        assert "q=showcase" in page.url and page.locator("table.runs tbody tr").count() >= 5
        page.locator("input[name=run]").first.check()
        page.click("text=Compare the ticked runs")
        assert "What differs in the configs" in page.content()
    if path == "run":
        assert page.locator("figure.hero img, #figures img").count() == 2 and "step 0: loss" in page.content()
        shot(page, "run-without-scripts")


@pytest.mark.parametrize(("width", "height"), [(360, 740), (3840, 2160)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_and_wall(open_page, newest, width, height, scheme):
    for path, name in (
        ("/", "runs"),
        (newest("showcase"), "run"),
        (newest("showcase") + "/views/mask", "mask"),
    ):
        page = open_page(path, viewport={"width": width, "height": height}, color_scheme=scheme)
        page.wait_for_timeout(600)
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{name} is {overflow} px too wide"
        shot(page, f"{name}-{width}-{scheme}")


def test_the_report_is_a_paper(open_page, newest):
    page = open_page(newest("tms_5-2"))
    page.click("nav.contents >> text=Report")
    assert page.locator("h2").first.inner_text() == "What was found"
    page.emulate_media(media="print")
    shot(page, "report")


def test_the_report_has_curves_that_answer(open_page, newest):
    """Its own script runs, on this server as in a mail; without scripts the same curves stand there."""
    page = open_page(newest("showcase") + "/report")
    plot, told = page.locator("figure.curve .plot").first, page.locator("figure.curve output").first
    before = plot.locator("path").get_attribute("d")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 30)
    assert re.match(r"step \d+: .+", told.inner_text())
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 30, steps=3)
    page.mouse.up()
    assert plot.locator("path").get_attribute("d") != before
    plot.press("0")
    ends = page.locator("figure.curve").first.locator("[data-end]").all_inner_texts()
    plain = open_page(newest("showcase") + "/report", java_script_enabled=False)
    assert plain.locator("figure.curve").first.locator("[data-end]").all_inner_texts()[2:] == ends[2:]
    assert plain.locator("figure.curve path").first.get_attribute("d") == before
    shot(page, "report-curves")


def kinds_of_pages(root, newest):
    """One address of every kind of page."""
    run = newest("tms_5-2")
    showcase = newest("showcase")
    several = [
        path.name for path in sorted((root / "showcase").iterdir()) if (path / "launch.yaml").exists()
    ][:2]
    (sweep,) = (root / ".sweeps").iterdir()
    view = json.loads((root / showcase.removeprefix("/runs/") / "views.json").read_text())[0]["name"]
    table = next((root / showcase.removeprefix("/runs/") / "tables").glob("*.csv")).stem
    zoo = "/zoo" + newest("mlp-digits").removeprefix("/runs")
    return {
        "runs": "/",
        "run": run,
        "run with views": showcase,
        "view": f"{showcase}/views/{quote(view)}",
        "table": f"{showcase}/tables/{quote(table)}",
        "compare": f"/compare?{'&'.join(f'run=showcase/{name}' for name in several)}",
        "sweeps": "/sweeps",
        "sweep": f"/sweeps/{sweep.name}",
        "zoos": "/zoo",
        "zoo": zoo,
        "member": f"{zoo}/1",
        "other settings": f"{run}/again",
        "no such run fits": "/?q=nothing&group=study&color=state&col=seed",
        "studies": "/studies",
        "study": "/studies/tms_5-2",
        "trash": "/trash",
        "masks side by side": f"{showcase}/views/two%20masks",
        "read": "/read",
        "report": f"{run}/report",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_kind_of_page_has_a_violation_that_axe_finds(open_page, root, newest, scheme):
    """axe-core is not ours to ship: the package that carries it is installed for the tests (group `browser`)."""
    carrier = pytest.importorskip("axe_playwright_python")
    axe = next(Path(carrier.__file__).parent.rglob("axe.min.js")).read_text()
    found = {}
    for kind, path in kinds_of_pages(root, newest).items():
        page = open_page(path, color_scheme=scheme, bypass_csp=True)
        page.wait_for_load_state("load")
        page.evaluate(axe)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        if result["violations"]:
            found[kind] = [(v["id"], v["nodes"][0]["html"][:200]) for v in result["violations"]]
        page.context.close()
    assert not found
