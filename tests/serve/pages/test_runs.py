"""The list of runs."""

import json


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
