"""Text from outside: the environment, study files and settings. Whatever it is, the answer is a value or one sentence."""

import os
import random
import zlib
from pathlib import Path

import pytest
from attack_damage import BOMB

from digsite.base.errors import DigsiteError
from digsite.config import resolve
from digsite.studies import all_studies, find_study
from digsite.studies.find import damaged_studies
from digsite.studies.plan import plan_run

ENVIRONMENT = {
    "OMP_NUM_THREADS": ["abc", "-1", "0", "1e3", "1.5", "99999999999", "٣", "0x2", " ", "1;2", ",", "\udcff"],
    "RANK": ["x", "-1", "1.0", "7", "9" * 50],
    "LOCAL_RANK": ["z", "-3"],
    "WORLD_SIZE": ["0", "-1", "two", "1e9"],
    "DIGSITE_HOME": ["/proc", "/dev/null", "/dev/null/x", "/proc/1/fd", "x" * 5000, "/sys/nothing", "\udcff"],
    "DIGSITE_DEVICE": ["gpu", "cuda:99", "cpu:x", "mps", "meta", "", "\udcff", ":"],
    "DIGSITE_DATA": ["/nowhere", "/dev/null", "x" * 5000],
    "DIGSITE_CACHE": ["/proc", "/dev/null"],
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_an_odd_environment_is_a_sentence(call, monkeypatch, plugin_studies, tmp_path, name):
    for value in ENVIRONMENT[name]:
        monkeypatch.setenv(name, value)
        for words in (
            ("run", "countdown", "steps=1", "--studies", plugin_studies),
            ("ls",),
            ("list", "read"),
        ):
            if name != "DIGSITE_HOME":
                words = (*words, "--runs", tmp_path / "r") if words[0] != "list" else words
            code, _, errors = call(*words)
            assert code in (0, 1, 2, 3) and "Traceback" not in errors, (value, words, errors[-1500:])
            assert code == 0 or errors.count("digsite: ") == 1, (value, words, errors)
    monkeypatch.delenv(name)


@pytest.mark.parametrize(("text", "threads"), [("2,1", 2), ("4", 4), ("", 1)])
def test_threads_as_openmp_reads_them(monkeypatch, text, threads):
    from digsite.base import settings

    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert settings.count_threads() == threads


STUDIES = [
    b"method: 5",
    b"method: [a]",
    b"method: ../x.y",
    b"method: nodot",
    b"minutes: soon",
    b"minutes: -1",
    b"minutes: .nan",
    b"minutes: 1e999",
    b"minutes: true",
    b"packs: 5",
    b"packs: [1]",
    b"needs: 5",
    b"needs: {a: 1}",
    b"purpose: 7",
    b"purpose: null",
    b"config: 3",
    b"config: [1]",
    b"config: {1: 2}",
    b"smoke: x",
    b"quick: 7",
    b"demo: 5",
    b"surprise: 1",
    b"",
    b"[]",
    b"text",
    b"\xff\xfe",
    b"a: b: c",
    b"&a [*a]",
    BOMB,
    b"[" * 3000,
    b"method: digsite.cli.x",
    b"\0",
    b"- " * 3000,
    b"method: decompose.toys\nmethod: decompose.toys",
    b"!!python/object/apply:os.system [true]",
    b"minutes: 010",
    b"x" * 5_000_000,
]
GOOD = b"method: countdown.countdown\npurpose: Good?\nminutes: 1\n"


def test_an_odd_study_costs_itself(tmp_path):
    """Every study beside it is found, and the odd one is a study or a sentence."""
    good, odd = tmp_path / "good", tmp_path / "odd"
    for folder in (good, odd):
        folder.mkdir()
    (good / "study.yaml").write_bytes(GOOD)
    refused = 0
    for text in STUDIES:
        kept = b"".join(
            line + b"\n" for line in GOOD.splitlines() if not line.startswith(text.partition(b":")[0])
        )
        for content in (text, kept + text + b"\n"):
            (odd / "study.yaml").write_bytes(content)
            known, damaged = all_studies([tmp_path]), damaged_studies([tmp_path])
            assert known["good"].purpose == "Good?" and "tms_5-2" in known, content[:60]
            assert set(damaged) <= {"odd"} and ("odd" in known) != ("odd" in damaged)
            refused += len(damaged)
    assert refused > 1.5 * len(STUDIES)


@pytest.mark.parametrize("special", ["folder", "pipe", "loop"])
def test_a_study_file_that_is_none_is_told_beside_the_list(call, tmp_path, special):
    file = tmp_path / "odd" / "study.yaml"
    file.parent.mkdir()
    {"folder": lambda p: p.mkdir(), "pipe": os.mkfifo, "loop": lambda p: p.symlink_to(p.name)}[special](file)
    code, said, errors = call("list", "--studies", tmp_path)
    assert code == 0 and "tms_5-2" in said and "Traceback" not in errors
    assert special == "folder" or "Damaged study 'odd'" in errors
    assert call("run", "odd", "--dry-run", "--studies", tmp_path)[0] in (2, 3)


VALUES = (
    "0",
    "-1",
    "1",
    "2",
    "7",
    "1000000007",
    "9" * 40,
    "9" * 500,
    "1e-9",
    "1e308",
    "1e999",
    ".nan",
    ".inf",
    "-.inf",
    "010",
    "1:30",
    "0x_",
    "0x10",
    "0b1",
    "1_000",
    "true",
    "no",
    "null",
    "~",
    "",
    "''",
    "text",
    "[]",
    "[1]",
    "[a, b]",
    "{}",
    "{a: 1}",
    "[[]]",
    "{kind: x}",
    "&a [*a]",
    "*a",
    "!!int x",
    '"\\ud800"',
    "\ud800",
    "\udcff",
    "\0",
    "[" * 200,
    "{" * 50,
    "a: b: c",
    "- 1",
    "|",
    "%",
    "@",
    "`",
    "'",
    '"',
    "é",
    "🦕",
    "../../etc",
    "/dev/null",
    "run:none",
    "x" * 3000,
    "1e-320",
    "-0.0",
    "3.7",
    "1,2",
    "0..4",
    "[0, 0]",
    "[-1, -1]",
    "[1, 2, 3, 4, 5, 6, 7, 8, 9]",
    "{1: 2}",
    "{null: 1}",
    "<<",
    "2026-01-01",
    "[null]",
    "[.nan]",
)
PATHS = (
    "",
    "~",
    ".",
    "..",
    "a..b",
    "seed.x",
    "x" * 400,
    "a." * 60 + "b",
    "0",
    "-1",
    "__class__",
    "\ud800",
    "é",
    "~seed",
    "@",
    "@/dev/null",
    "@/proc/self/mem",
    "@nothing.yaml",
    "@/",
    "*",
    "seed.0",
    "model_fields",
    "config",
    "kind",
)


def fuzzed(leaves: list[str], rng: random.Random) -> list[str]:
    """One to three settings: mostly of real places with odd values, now and then of places that are none."""
    words = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(PATHS) if rng.random() < 0.15 else rng.choice(leaves)
        if rng.random() < 0.15:
            parts = path.split(".")
            path = ".".join(parts[rng.randrange(len(parts)) :])
        if rng.random() < 0.1:
            path += rng.choice((".0", ".x", ".-1", ".999", "."))
        words.append(f"~{path}" if rng.random() < 0.08 else f"{path}={rng.choice(VALUES)}")
    return words


def leaves_of(study) -> list[str]:
    """Every setting of the smoke by its path, and every place above one."""
    from digsite.config.overrides import leaf_paths

    found = list(leaf_paths(plan_run(study, size="smoke").tree))
    return sorted({".".join(p.split(".")[: i + 1]) for p in found for i in range(len(p.split(".")))})


def attack_settings(n: int, seed: int) -> tuple[int, list]:
    """Plan `n` fuzzed configs over all studies: how many were accepted, and those that ended in a traceback."""
    studies = list(all_studies().values())
    leaves = {s.name: leaves_of(s) for s in studies}
    accepted, broken = [], []
    for i in range(n):
        study = studies[i % len(studies)]
        rng = random.Random(zlib.crc32(f"{seed} {i}".encode()))
        words = fuzzed(leaves[study.name], rng)
        try:
            planned = plan_run(study, size="smoke", overrides=words)
            resolve.dump_config(planned.config)
            accepted.append((study.name, words))
        except DigsiteError as error:
            assert str(error) and len(str(error)) < 3000
        except Exception as error:
            broken.append((study.name, words, repr(error)[:300]))
    return accepted, broken


def test_settings_are_a_plan_or_a_sentence():
    accepted, broken = attack_settings(400, 27)
    assert not broken, broken[:5]
    assert accepted


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_twenty_thousand_settings_are_a_plan_or_a_sentence(part):
    accepted, broken = attack_settings(1000, 100 + part)
    assert not broken, (len(broken), broken[:10])
    assert accepted


def test_a_setting_is_refused_and_nothing_is_written(call, tmp_path):
    for value in ("010", "1:30", "0x_", "&a [*a]", "1e999", "\udcff"):
        code, _, errors = call("run", "tms_5-2", f"seed={value}", "--runs", tmp_path / "r")
        assert code == 2 and errors.count("digsite: ") == 1 and len(errors) < 400, errors
    assert not (tmp_path / "r").exists()
    assert find_study("tms_5-2")


def test_an_odd_config_file_is_a_sentence(call, tmp_path):
    for i, text in enumerate(STUDIES):
        (tmp_path / f"{i}.yaml").write_bytes(text)
        for words in (
            ("run", "tms_5-2", "--dry-run", "--config", tmp_path / f"{i}.yaml"),
            ("sweep", "--file", tmp_path / f"{i}.yaml", "--dry-run"),
        ):
            code, _, errors = call(*words)
            assert code in (0, 2, 3) and "Traceback" not in errors, (text[:60], words, errors[-1500:])


@pytest.mark.parametrize(
    "words",
    [
        ("sweep", "countdown", "seed=0..99999999999"),
        ("sweep", "countdown", "seed=" + "9" * 300 + ".." + "9" * 301),
        ("sweep", "countdown", "steps=log(0,1)"),
        ("sweep", "countdown", "steps=log(1,x)"),
        ("sweep", "countdown", "steps=uniform(nan,1)"),
        ("sweep", "countdown", "=1"),
        ("sweep", "countdown", "seed"),
        ("sweep", "countdown", "seed=\udcff"),
        ("sweep", "", "seed=1"),
        ("sweep", "countdown", "seed=[[[[1]]]]"),
        ("sweep", "countdown", "seed=0", "--on", "local:٣"),
        ("sweep", "countdown", "seed=0", "--on", "x:y"),
        ("sweep", "countdown", "seed=0", "--on", "local:" + "9" * 40),
        ("sweep", "countdown", "seed=uniform(1,1e999)"),
        ("show", "\udcff"),
        ("show", "x" * 5000),
        ("show", "a\tb"),
        ("rm", "-y", ""),
        ("sweep", "status", "../x"),
        ("sweep", "status", ""),
        ("report", ""),
        ("resume", "last"),
        ("track", "/dev/null"),
        ("zoo", "show", "#"),
        ("zoo", "show", "x#y"),
        ("describe", "\udcff"),
        ("ls", "-n", "-5"),
        ("config", "show", "x=1"),
        ("serve", "--host", "\udcff"),
        ("serve", "--host", "nowhere.invalid"),
        ("exec", "/nowhere"),
        ("exec", "/dev/null"),
        ("mirror", "x", "--to", "y"),
    ],
)
def test_odd_words_are_a_sentence(call, tmp_path, plugin_studies, words):
    studies = (
        ("--studies", plugin_studies, "--plan-only") if words[0] == "sweep" and words[1] != "status" else ()
    )
    rooted = () if words[0] in ("zoo", "describe", "config", "exec") else ("--runs", tmp_path / "r")
    code, _, errors = call(*words, *studies, *rooted)
    assert code != -1 and "Traceback" not in errors, errors[-1500:]
    assert Path(tmp_path).exists()
