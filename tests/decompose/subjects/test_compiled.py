"""Compiled programs: the shipped files, the stored outputs of the compiler's own network, and bad files."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from digsite.base import settings
from digsite.base.errors import DigsiteError, NotFound
from digsite.decompose.subjects import compiled
from digsite.decompose.subjects.compiled import compress_program, load_program, pad_program, rotate_program


def test_hist_counts_how_often_each_symbol_occurs():
    """Against Python's own counting, on every input that there is."""
    program = load_program("hist")
    code = {number: symbol for symbol, number in program.truth["encoding"].items()}
    values = program.truth["output"]["values"]
    assert sum(len(ids) for ids in program.domain) == 5 + 25 + 125 + 625 + 3125 and program.is_whole
    for ids in program.domain:
        answers = program.wanted(ids)[:, 1:].argmax(-1)
        for row, answer in zip(ids[:, 1:].tolist(), answers.tolist(), strict=True):
            counts = Counter(code[i] for i in row)
            assert [values[a] for a in answer] == [counts[code[i]] for i in row]


@pytest.mark.parametrize("name", ["hist", "frac_prevs", "neighbours"])
def test_a_hidden_or_padded_basis_changes_no_answer(name):
    program = load_program(name)
    for changed in (rotate_program(program, 3), rotate_program(pad_program(program, 4, 1), 2)):
        ids = program.domain[-1]
        assert program.is_right(changed.model(ids), program.wanted(ids)).all()
        torch.testing.assert_close(
            changed.basis @ changed.basis.T, torch.eye(len(changed.basis)), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize(("name", "width"), [("hist", 15), ("frac_prevs", 11), ("neighbours", 16)])
def test_a_compressed_stream_answers_the_same_while_variables_share_its_directions(name, width):
    program = load_program(name)
    small = compress_program(program)
    assert small.truth["width"] == width == small.basis.shape[1] < len(small.basis)
    shared = small.basis @ small.basis.T - torch.eye(len(small.basis))
    assert shared.abs().max() > 0.1
    for changed in (small, rotate_program(pad_program(small, 4, 1), 2)):
        for ids in program.domain:
            assert program.is_right(changed.model(ids), program.wanted(ids)).all()
    for site in program.sites:
        weight = small.model.get_submodule(site).weight
        assert small.rank(site) == torch.linalg.matrix_rank(weight, rtol=1e-5) <= program.rank(site)


def test_a_compressed_stream_still_says_what_it_holds_of_each_label():
    program = load_program("frac_prevs")
    small = compress_program(program)
    ids = program.domain[-1]
    held = [p.model.embed(ids) + p.model.pos.weight[: ids.shape[1]] for p in (program, small)]
    torch.testing.assert_close(held[1] @ small.basis.T, held[0], atol=1e-4, rtol=0)


def test_what_is_written_of_a_variable_lies_in_its_rotated_subspace():
    program = rotate_program(load_program("hist"), 5)
    written = program.model.embed.weight
    known = [d for name in ("tokens", "one") for d in program.variables[name]]
    inside = written @ program.basis[known].T @ program.basis[known]
    torch.testing.assert_close(inside, written, atol=1e-5, rtol=0)


def stored_programs() -> list[str]:
    data = settings.data_dir()
    return sorted(p.stem for p in (data / compiled.FOLDER).glob("*.npz")) if data else []


@pytest.mark.skipif(not stored_programs(), reason="needs the compiled programs of DIGSITE_DATA")
def test_the_network_is_the_compilers_own():
    for name in ("sort_unique", "detect_pattern", "random_11"):
        program = load_program(name)
        stored = np.load(settings.data_dir() / compiled.FOLDER / f"{name}.npz")
        for ids in program.domain:
            n = ids.shape[1] - 1
            assert np.array_equal(stored[f"ids_{n}"], ids.numpy())
            assert np.abs(stored[f"outputs_{n}"] - program.model(ids).numpy()).max() < 1e-5


def copy_of(name: str, folder):
    for ending in (".json", ".safetensors"):
        (folder / f"{name}{ending}").write_bytes((compiled.SHIPPED / f"{name}{ending}").read_bytes())
    return folder / name


def test_a_file_that_does_not_match_its_truth_is_answered(tmp_path):
    stem = copy_of("hist", tmp_path)
    truth = json.loads(stem.with_suffix(".json").read_text())
    truth["matrices"]["unembed.weight"]["shape"] = [7, 20]
    stem.with_suffix(".json").write_text(json.dumps(truth))
    with pytest.raises(DigsiteError, match=r"does not match its JSON: 'unembed.weight' should be \[7, 20\]"):
        load_program(stem)
    stem.with_suffix(".json").write_text("{}")
    with pytest.raises(DigsiteError, match="says nothing about 'matrices'"):
        load_program(stem)
    stem.with_suffix(".json").write_text("no json")
    with pytest.raises(DigsiteError, match="cannot be read"):
        load_program(stem)
    with pytest.raises(NotFound, match="no compiled program 'hits'"):
        load_program("hits")


def test_a_domain_that_is_too_large_is_sampled_and_says_so():
    program = load_program("hist", most_inputs=100)
    assert not program.is_whole
    assert [len(ids) for ids in program.domain] == [5, 25, 100, 100, 100]
