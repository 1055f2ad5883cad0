"""The list of runs."""

import json
import re


def test_the_list_shows_runs_with_their_answers(client, run, address):
    page = client.get("/").text
    assert run.id in page and f'href="{address(run)}"' in page
    assert "features live in 2 dimensions" in page
    assert "4 runs" in page


def test_the_filters_work_without_scripts(client):
    assert "No run fits" in client.get("/?q=nothing").text
    assert "1 of 4 runs" in client.get("/?where=lr%3D0.03").text
    assert "2 of 4 runs" in client.get("/?where=seed%3E0").text
    assert "is not a condition" in client.get("/?where=nonsense").text


def test_an_empty_folder_says_what_to_do(served):
    assert "digsite run STUDY" in served.get("/").text


def test_the_part_is_what_the_script_swaps_in(client):
    part = client.get("/?part=rows").text
    assert part.lstrip().startswith('<div id="rows"') and "<html" not in part


def test_the_api_is_the_command_line(client, cli, made):
    code, out, _ = cli("ls", "--json", "-n", 0, "--runs", made)
    assert code == 0
    assert client.get("/api/runs").json() == json.loads(out)
    assert len(client.get("/api/runs?where=seed%3E0").json()) == 2


def test_a_failed_run_shows_its_message(served, planned):
    planned(state="failed", message="the disk is full")
    page = served.get("/").text
    assert "the disk is full" in page and "1 failed" in page


def test_a_killed_run_is_shown_as_killed(served, planned):
    import socket

    planned(state="running", pid=2**22 + 1, host=socket.gethostname())
    assert "state-killed" in served.get("/").text


# Columns, groups and colors: all of it in the address.


def test_columns_show_settings_and_claims_and_can_be_sorted_by(client):
    page = client.get("/?col=lr&col=claim:loss&sort=claim:loss&up=1").text
    values = [float(text) for text in re.findall(r"loss </small>([\d.]+)\u00a0MSE", page)]
    assert len(values) == 4 and values == sorted(values)
    back = client.get("/?col=lr&col=claim:loss&sort=claim:loss").text
    assert [float(t) for t in re.findall(r"loss </small>([\d.]+)\u00a0MSE", back)] == values[::-1]
    assert 'name="col" value="lr" checked' in page.replace("  ", " ")


def test_groups_are_counted_and_colors_have_a_legend(client):
    page = client.get("/?group=lr&color=hidden").text
    heads = re.findall(r'<tr class="group">.*?<b>(.*?)</b> <small class="inline">(\d) run', page, re.S)
    assert heads == [("0.01", "3"), ("0.03", "1")]
    assert page.count('<i class="dot dot-0"></i><a') == 3 and page.count('<i class="dot dot-1"></i><a') == 1


def test_states_have_the_colors_of_their_badges(served, planned):
    planned(state="failed", message="the disk is full")
    planned(state="interrupted")
    page = served.get("/?color=state").text
    assert '<i class="dot dot-1"></i>failed' in page and '<i class="dot dot-4"></i>interrupted' in page


def test_an_answer_that_cannot_be_read_is_said(served, planned):
    run = planned(state="finished")
    assert "cannot be read" not in served.get("/").text
    run.results.write_text('{"schema": 2, "claims": [')
    assert "Its results cannot be read." in served.get("/").text
    page = served.get(f"/runs/{run.path.parent.name}/{run.id}").text
    assert "Its results cannot be read." in page and "No claims yet" not in page


def test_links_of_the_list_keep_the_view(client):
    page = client.get("/?col=lr&col=claim:loss&group=hidden&study=showcase").text
    for link in re.findall(r'<th scope="col"[^>]*><a href="(.*?)"', page):
        assert "col=lr&amp;col=claim%3Aloss" in link and "group=hidden" in link and "study=showcase" in link


def test_runs_without_the_column_come_last(served, planned):
    for lr in (0.1, 0.01, None):
        planned(config={"seed": 0} if lr is None else {"seed": 0, "lr": lr})
    for way in ("0", "1"):
        page = served.get(f"/?col=lr&sort=lr&up={way}").text
        cells = re.findall(r'<td class="num cell">(?:<small class="cell-name">lr </small>)?([\d.]*)<', page)
        assert cells == (["0.01", "0.1", ""] if way == "1" else ["0.1", "0.01", ""])


def test_a_column_of_anything_is_escaped(served, planned):
    planned(config={"seed": 0, "text": "<b>bold</b>"})
    page = served.get("/?col=text&group=text&color=text").text
    assert "<b>bold</b>" not in page and "&lt;b&gt;bold" in page
    odd = served.get("/?col=%3Cimg%20src=x%3E&group=%22%3E%3Cscript%3E&color=nonsense&sort=also")
    assert odd.status_code == 200 and "<img src=x>" not in odd.text and '"><script>' not in odd.text
