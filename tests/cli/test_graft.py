import pytest
import torch

from digsite.data import load
from digsite.models import build, save_model
from digsite.models.configs.dense import MlpConfig
from digsite.train import Member, train_ensemble


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Receiver and donor of the digits as safetensors."""
    folder, images = tmp_path_factory.mktemp("couple"), load("digits")
    x = (images.x_train - images.x_train.mean()) / images.x_train.std()
    for name, known in (("receiver", [0, 1, 2, 3]), ("donor", [2, 3, 4, 5])):
        mine = torch.isin(images.y_train, torch.tensor(known))
        net = build(MlpConfig(sizes=[64, 32, 10]), seed=len(name))
        done = train_ensemble(net, (x[mine], images.y_train[mine]), [Member(batch=64, steps=150, lr=3e-3)])
        save_model(folder / f"{name}.safetensors", done.ensemble.module(0))
    return folder


def test_a_class_moves_between_two_files(cli, files, tmp_path):
    out = tmp_path / "grafted.safetensors"
    words = [
        "graft",
        files / "donor.safetensors",
        files / "receiver.safetensors",
        "--data",
        "digits",
        "--out",
        out,
    ]
    code, text, _ = cli(*words)
    assert code == 0, text
    line = dict(row.split(maxsplit=1) for row in text.splitlines() if len(row.split()) > 1)
    assert line["budget"] == "w" and float(line["transfer"]) > 50 and out.is_file()
    code, text, _ = cli("graft", "--inspect", out)
    assert code == 0 and "look foreign" in text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["{d}"], 2, "needs a donor and a receiver"),
        (["{d}", "{r}", "--method", "unin"], 3, "Did you mean 'union'"),
        (["{d}", "{r}", "--method", "distill"], 2, "needs data"),
        (["{d}", "{d}", "--data", "digits"], 2, "already knows class 4"),
        (["{r}", "{r}", "--data", "digits"], 2, "donor does not know class 4"),
        (["{d}", "{r}", "--new-class", "three"], 2, "no list of classes"),
        (["{d}", "{r}", "--new-class", "3"], 2, "already knows class 3"),
        (["{d}", "{r}", "--head", "top,"], 3, "no linear layer 'top'"),
        (["{d}", "{r}", "--method", "probe_all k=9999", "--data", "digits"], 2, "the data holds"),
    ],
)
def test_bad_input_is_one_sentence(cli, files, words, code, says):
    names = {"d": files / "donor.safetensors", "r": files / "receiver.safetensors"}
    got, _, error = cli("graft", *(w.format(**names) for w in words))
    assert got == code and says in error and "Traceback" not in error
