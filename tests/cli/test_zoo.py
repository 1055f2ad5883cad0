"""The verb zoo: make, ls, show, export, and sentences for what is not there."""

import json


def test_from_study_to_file(cli, tmp_path):
    code, out, err = cli(
        "zoo", "make", "mlp-digits", "--smoke", "members=4", "shard=2", "steps=10", "checkpoints=[0,10]"
    )
    assert code == 0, err
    code, out, _ = cli("zoo", "ls", "--json")
    (entry,) = json.loads(out)
    assert code == 0 and entry["zoo"] == "mlp-digits" and entry["members"] == 4
    code, out, _ = cli("zoo", "show", "mlp-digits#3", "--json")
    assert code == 0 and json.loads(out)["model"]["sizes"] == [64, 32, 16, 10]
    code, out, _ = cli("zoo", "show", "mlp-digits")
    assert code == 0 and "checkpoints" in out
    code, out, _ = cli("zoo", "export", "mlp-digits#1@0", tmp_path / "net.safetensors")
    assert code == 0 and (tmp_path / "net.safetensors").exists()


def test_what_is_not_there(cli, tmp_path):
    assert cli("zoo", "show", "nothing")[0] == 3
    code, _, err = cli("zoo", "make", "mlp-digitz")
    assert code == 3 and "Did you mean 'mlp-digits'" in err
