"""The command line from outside: help, errors, exit codes, JSON."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from digsite.cli import find_verbs

VERBS = sorted(find_verbs())
TORCH_FREE = ["--help", "--version", "ls", "list", "describe", "completion bash", "run --help", "show --help"]


@pytest.mark.parametrize("words", TORCH_FREE)
def test_looking_around_never_imports_torch(words):
    code = f"import sys; sys.argv = ['digsite', *{words.split()!r}]\nimport atexit\n"
    code += "atexit.register(lambda: print('TORCH', 'torch' in sys.modules))\nfrom digsite.cli import main; main()"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "TORCH False" in out, out[-500:]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(cli, verb):
    code, out, _ = cli(verb, "--help")
    assert code == 0
    assert out.startswith("Usage: digsite ")


def test_help_is_a_verb_too(cli):
    assert cli("help")[:2] == cli("--help")[:2]
    assert cli("help", "run")[:2] == cli("run", "--help")[:2]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["rnu"], 2, "There is no verb 'rnu'. Did you mean 'run'"),
        (["help", "rnu"], 2, "There is no verb 'rnu'. Did you mean 'run'"),
        (["compare"], 2, "There is no verb 'compare'. Runs stand beside each other in: digsite report"),
        (["runs"], 2, "There is no verb 'runs'. Runs are listed by: digsite ls"),
        (["run", "countdwn"], 3, "There is no study 'countdwn'. Did you mean 'countdown'"),
        (
            ["run", "countdown", "stps=3"],
            2,
            "Unknown key 'stps' in this config of 'countdown'. Did you mean 'steps'",
        ),
        (["run", "countdown", "steps=-3"], 2, "'steps' cannot be -3"),
        (["run", "countdown", "steps"], 2, "'steps' is not an override"),
        (["run", "countdown", "--config", "none.yaml"], 3, "no config file 'none.yaml'"),
        (["run"], 2, "No study was named"),
        (["show", "nothing"], 3, "There is no run 'nothing'"),
        (["describe", "lossess"], 3, "There is no family 'lossess'"),
        (["run", "countdown", "--device", "tpu9"], 2, "'tpu9' is not a device"),
    ],
)
def test_mistakes_get_one_sentence_and_their_exit_code(cli, plugin_studies, words, code, sentence):
    extra = ["--studies", plugin_studies] if words[0] == "run" else []
    got, _, err = cli(*words, *extra)
    assert got == code
    assert sentence in err
    assert "Traceback" not in err


def run_countdown(cli, plugin_studies, *words):
    return cli("run", "countdown", "--studies", plugin_studies, "-q", *words)


def test_run_then_look_at_it_in_every_way(cli, plugin_studies):
    code, out, _ = run_countdown(cli, plugin_studies, "steps=3")
    assert code == 0 and "The numbers add up" in out and "report" in out
    code, out, _ = cli("ls", "--json")
    (listed,) = json.loads(out)
    assert listed["state"] == "finished" and listed["study"] == "countdown"
    code, out, _ = cli("show", "last", "--json")
    assert json.loads(out)["results"]["measurements"][0]["name"] == "total"
    assert cli("rm", "last", "--yes")[0] == 0
    assert json.loads(cli("ls", "--json")[1]) == []


def test_json_is_one_document_on_stdout(cli, plugin_studies):
    code, out, _ = run_countdown(cli, plugin_studies, "--smoke", "--json")
    assert code == 0 and json.loads(out)["exit_code"] == 0


def test_several_studies_in_one_command_get_one_report(cli, plugin_studies, tmp_path):
    words = (
        "run",
        "countdown,countdown",
        "--quiet",
        "--json",
        "--studies",
        plugin_studies,
        "--runs",
        tmp_path,
    )
    code, out, err = cli(*words)
    (report,) = tmp_path.glob("together-*.html")
    assert code == 0 and f"The report of all 2: {report}" in err
    assert all(run["run"].rpartition("/")[2] in report.read_text() for run in json.loads(out))
    assert cli(*words, "--no-report")[0] == 0
    assert len(list(tmp_path.glob("together-*.html"))) == 1


def test_what_w_and_b_has_a_copy_of_gets_its_kind_of_report(monkeypatch, tmp_path, capfd):
    from digsite.cli import _start
    from digsite.mirrors import wandb_report

    asked = []
    monkeypatch.setattr("digsite.report.write_report", lambda runs, out: asked.append(out))
    monkeypatch.setenv("WANDB_ENTITY", "team")
    monkeypatch.setattr(
        wandb_report, "publish_report", lambda runs, out, **about: asked.append(about) or "address"
    )
    _start.report_together([], tmp_path / "a.html", "two studies", "wandb", "p")
    assert asked == [tmp_path / "a.html", {"title": "two studies", "project": "p", "entity": "team"}]
    assert "address" in capfd.readouterr().err


def test_sizes_and_dry_run(cli, plugin_studies):
    code, out, _ = run_countdown(cli, plugin_studies, "--quick", "--dry-run")
    assert code == 0 and "steps: 4" in out
    assert cli("ls", "--json")[1].strip() == "[]"


def test_config_show_says_where_values_come_from(cli, plugin_studies):
    code, out, _ = cli("config", "show", "countdown", "seed=4", "--studies", plugin_studies, "--json")
    origins = json.loads(out)["origins"]
    assert (origins["steps"], origins["seed"], origins["sleep_s"]) == (
        "study.yaml",
        "command line",
        "default",
    )


def test_config_schema_describes_every_key(cli, plugin_studies):
    schema = json.loads(cli("config", "schema", "countdown", "--studies", plugin_studies)[1])
    assert schema["properties"]["steps"]["description"] == "numbers to add up"


def test_resume_keeps_the_config_and_shows_the_difference(cli, plugin_studies):
    run_countdown(cli, plugin_studies, "steps=3")
    assert cli("resume", "last", "-q")[0] == 0
    code, _, err = cli("resume", "last", "steps=5")
    assert code == 2 and "steps: 3 -> 5" in err


def test_a_failed_run_says_where_its_traceback_is(cli, plugin_studies):
    code, _, err = run_countdown(cli, plugin_studies, "fail_at=1")
    assert code == 1
    assert "ValueError: as asked" in err and "error.json" in err and "digsite resume" in err


def test_check_compares_with_what_is_expected(cli, plugin_studies, tmp_path):
    import shutil

    studies = tmp_path / "studies"
    shutil.copytree(plugin_studies, studies)
    (studies / "countdown" / "expected.json").write_text(
        '{"claims": {"total": {"min": 1e9, "source": "nobody"}}}'
    )
    code, _, err = cli("run", "countdown", "--studies", studies, "-q", "--check")
    assert code == 4 and "expected 1e+09 to inf (nobody)" in err


def test_exec_takes_many_runs_and_answers_each(cli, tmp_path):
    from digsite.record import create_run

    launch = {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 1}}
    paths = [create_run(tmp_path, launch).path for _ in range(3)]
    code, out, _ = cli("exec", *paths)
    assert code == 0
    assert re.findall(r" (\d)$", out, re.M) == ["0", "0", "0"]


def test_doctor_finds_what_is_there(cli):
    code, out, _ = cli("doctor", "--json")
    assert code == 0 and json.loads(out)["torch"].startswith("2.")


def test_every_verb_is_a_command_of_the_file_that_it_was_found_in(cli):
    from digsite.cli import cli as group

    for verb in VERBS:
        assert group.get_command(None, verb).name == verb
    assert "exec" in VERBS and group.get_command(None, "exec").hidden


def test_a_check_that_compares_nothing_says_so_and_leaves_with_4(cli, plugin_studies):
    code, _, err = cli("run", "countdown", "--studies", plugin_studies, "-q", "--check")
    assert code == 4 and "Nothing was compared: 'countdown' expects no value of its full size" in err


def test_a_mirror_that_is_not_installed_stops_the_run_before_it_starts(
    cli, plugin_studies, monkeypatch, tmp_path
):
    import sys

    import digsite.mirrors  # noqa: F401

    monkeypatch.setattr(sys.modules["digsite.mirrors.follow"], "find_spec", lambda name: None)
    words = (
        "run",
        "countdown",
        "--studies",
        plugin_studies,
        "--mirror",
        "wandb",
        "--runs",
        tmp_path / "none",
    )
    code, out, err = cli(*words)
    assert (
        code == 2
        and "needs the package 'wandb', which is not installed" in err
        and not (tmp_path / "none").exists()
    )


def test_a_range_belongs_to_a_sweep(cli, plugin_studies):
    code, _, err = cli("run", "countdown", "--studies", plugin_studies, "seed=0-4")
    assert code == 2 and "'seed' cannot be '0-4'" in err and "0..4, for digsite sweep" in err


def test_describe_lists_networks_that_are_no_files(cli):
    found = json.loads(cli("describe", "networks", "--json")[1])
    assert found["cnn_pyramid"].endswith("then 256, 128 units") and "512, 256, 128, 64" in found["mega"]
    assert len(json.loads(cli("describe", "shapes", "--json")[1])) == 15
    assert {"networks", "shapes", "methods"} <= {row[0] for row in json.loads(cli("describe", "--json")[1])}


def test_marks_and_the_way_back_from_the_trash(cli, plugin_studies):
    assert run_countdown(cli, plugin_studies)[0] == 0
    code, out, _ = cli("tag", "last", "good", "again", "--star", "--json")
    assert code == 0 and json.loads(out)["tags"] == ["good", "again"] and json.loads(out)["star"]
    assert "again" in cli("tag", "last", "~good")[1] and "good" not in cli("tag", "last")[1]
    assert "look again" in cli("note", "last", "look again")[1]
    code, _, err = cli("tag", "last", "x" * 10_000)
    assert code == 2 and "at most 60 characters" in err
    run = json.loads(cli("ls", "--json")[1])[0]["id"]
    assert cli("rm", run, "-y")[0] == 0
    assert run in cli("restore")[1]
    code, _, err = cli("restore", "nothing")
    assert code == 3 and "is no run in the trash" in err
    assert "is back" in cli("restore", run)[1] and "is empty" in cli("restore")[1]


def test_info_tells_question_settings_and_command(cli, plugin_studies):
    code, out, _ = cli("info", "countdown", "--studies", plugin_studies, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["command"] == "digsite run countdown"
    steps = next(s for s in facts["settings"] if s["key"] == "steps")
    assert steps["type"] == "whole number" and steps["text"]
    assert "steps" in cli("info", "countdown", "--studies", plugin_studies)[1]


def test_the_question_is_said_before_anything_heavy(plugin_studies, tmp_path):
    """The first line must not wait for PyTorch: it is written before that is imported."""
    code = (
        f"import sys, click\nsys.path.insert(0, {str(Path(plugin_studies).parent)!r})\n"
        "def secho(text=None, **how):\n    print('TORCH', 'torch' in sys.modules, text, file=sys.stderr)\n"
        "click.secho = secho\n"
        f"sys.argv = ['digsite', 'run', 'countdown', '--studies', {str(plugin_studies)!r}, '--runs', {str(tmp_path)!r}]\n"
        "from digsite.cli import main; main()"
    )
    err = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert "TORCH False countdown" in err


# What a shell completes, what is empty, and what every verb can say as JSON.


def complete(words, incomplete):
    """What the shell would be offered behind `digsite words`."""
    from click.shell_completion import ShellComplete

    from digsite.cli import cli as command

    asked = ShellComplete(command, {}, "digsite", "_DIGSITE_COMPLETE")
    return [item.value for item in asked.get_completions(words.split(), incomplete)]


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        ("", "gra", ["graft"]),
        ("run", "tms_5-2-", ["tms_5-2-id"]),
        ("run tms_5-2", "seed", ["seed="]),
        ("run tms_5-2", "ste", ["decompose.steps="]),
        ("config show tms_5-2", "decompose.ste", ["decompose.steps="]),
        ("sweep start tms_5-2", "decompose.ste", ["decompose.steps="]),
        ("sweep start tms_5-2 --on", "", ["local:2", "ray", "slurm", "torchrun:2"]),
        ("describe", "scor", ["scores"]),
        ("graft --method", "uni", ["union"]),
        ("prune m --method", "wan", ["wanda"]),
        ("dig", "zo", ["zoo:"]),
        ("run no-such-study", "se", []),
    ],
)
def test_the_shell_completes(words, incomplete, offered):
    found = complete(words, incomplete)
    assert set(offered) <= set(found) if offered else not found


def test_zoos_of_this_machine_are_completed(monkeypatch):
    monkeypatch.setattr("digsite.zoo.store.all_zoos", lambda: {"digits": None, "mnist": None})
    assert complete("read", "zoo:") == ["zoo:digits#", "zoo:mnist#"]
    assert complete("read", "zoo:m") == ["zoo:mnist#"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ls"], "No runs in"),
        (["ls", "tms_5-2"], "No tms_5-2 runs in"),
        (["restore"], "is empty"),
        (["sweep", "status"], "There is no sweep 'last'"),
        (["list", "nowhere"], "There is no room 'nowhere'"),
    ],
)
def test_nothing_to_list_is_a_sentence(cli, words, sentence):
    _, out, err = cli(*words)
    assert sentence in out + err and "progress" not in out


def test_verbs_that_move_or_write_answer_as_json(cli, plugin_studies, tmp_path):
    run_countdown(cli, plugin_studies, "steps=3")
    published = json.loads(cli("publish", "last", "--out", tmp_path / "site", "--json")[1])
    assert Path(published["index"]).is_file() and len(published["runs"]) == 1
    resumed = json.loads(cli("resume", "last", "--quiet", "--json")[1])
    assert resumed["exit_code"] == 0
    (moved,) = json.loads(cli("rm", "last", "--yes", "--json")[1])
    assert Path(moved["trash"]).is_dir()
    (thrown,) = json.loads(cli("restore", "--json")[1])
    assert thrown == {"run": moved["trash"], "back": False}
    (back,) = json.loads(cli("restore", Path(moved["run"]).name, "--json")[1])
    assert back == {"run": moved["run"], "back": True}


def takes_json(command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_every_verb_that_answers_can_answer_as_json():
    """Those that have no answer are named: servers, loops, scripts for shells and what a launcher calls."""
    import click

    from digsite.cli import cli as group

    silent = {"completion", "demo", "exec", "serve", "schema"}  # a schema is JSON anyway
    found, context = set(), click.Context(group)
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        inner = verb.commands if isinstance(verb, click.Group) else {name: verb}
        found |= {f"{name} {key}" for key, one in inner.items() if not takes_json(one) and key not in silent}
    assert not found


def test_the_question_is_said_before_anything_heavy_is_imported(tmp_path, plugin_studies):
    """The first line on stderr comes before the first import of torch: the rest depends on the machine."""
    code = (
        "import sys, builtins, importlib.abc\n"
        "class Watch(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'torch': sys.stderr.write('IMPORTS TORCH\\n')\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"sys.argv = ['digsite', 'run', 'lm_mlp', '--smoke', '--runs', {str(tmp_path)!r}, 'nonsense=1']\n"
        "from digsite.cli import main; main()"
    )
    err = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert err.startswith("lm_mlp: Which parts"), err[:300]
