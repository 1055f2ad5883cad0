"""Cards of what is saved, and the way to the hub and back against a stand-in for its HTTP interface on loopback."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import torch
import yaml
from safetensors.torch import save_file

from digsite.base import atomic
from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.record.layout import create_run
from digsite.record.results import Claim, Results, write_results
from digsite.weights import describe_saved, fetch_saved, open_weights, push_saved, render_card, write_card

pytest.importorskip("huggingface_hub")


class Hub(ThreadingHTTPServer):
    """As much of the hub as creating, committing, listing and resolving need; it keeps what it is sent."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.repos, self.asked, self.refuses = {}, [], 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def commits(self):
        return [path for method, path in self.asked if method == "POST" and "/commit/" in path]


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, value, status=200, headers=(), body=None):
        body = json.dumps(value).encode() if body is None else body
        self.send_response(status)
        for name, text in (
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            *headers,
        ):
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        path = urlsplit(self.path).path
        self.server.asked.append(("POST", path))
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.server.refuses:
            return self.answer({"error": "You may not write here"}, self.server.refuses)
        if path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.server.repos.setdefault(
                name, {"files": {}, "private": asked.get("private") or asked.get("visibility") == "private"}
            )
            return self.answer({"url": f"{self.server.address}/{name}", "name": name})
        if "/preupload/" in path:
            files = json.loads(data)["files"]
            told = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return self.answer({"files": told})
        if "/commit/" in path:
            name = path.removeprefix("/api/models/").partition("/commit/")[0]
            repo = self.server.repos[name]
            for line in data.decode().splitlines():
                found = json.loads(line)
                if found["key"] == "file":
                    repo["files"][found["value"]["path"]] = base64.b64decode(found["value"]["content"])
            url = f"{self.server.address}/{name}/commit/{'c' * 40}"
            return self.answer({"commitUrl": url, "commitOid": "c" * 40, "success": True})
        return self.answer({"message": "valid", "warnings": [], "errors": []})

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path))
        name = next((n for n in self.server.repos if f"/{n}" in path), None)
        if name is None:
            return self.answer({"error": "Repository not found"}, 404, [("x-error-code", "RepoNotFound")])
        files = self.server.repos[name]["files"]
        if "/resolve/" in path:
            file = path.partition("/resolve/")[2].partition("/")[2]
            if file not in files:
                return self.answer({}, 404, [("x-error-code", "EntryNotFound")])
            etag = hashlib.sha1(files[file]).hexdigest()
            head = [("etag", f'"{etag}"'), ("x-repo-commit", "c" * 40), ("accept-ranges", "bytes")]
            return self.answer(None, headers=head, body=files[file])
        if "/tree/" in path:
            return self.answer(
                [{"type": "file", "path": f, "size": len(b), "oid": "0"} for f, b in files.items()]
            )
        siblings = [{"rfilename": f} for f in files]
        return self.answer(
            {
                "id": name,
                "modelId": name,
                "sha": "c" * 40,
                "siblings": siblings,
                "private": True,
                "tags": [],
                "downloads": 0,
            }
        )

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    server = Hub()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path):
    """A run with one claim beside its null, in whose artifacts things lie."""
    launch = {"study": "s", "method": "a.b", "config": {"seed": 0}, "purpose": "Is | it <b>so</b>?"}
    made = create_run(tmp_path / "runs", launch)
    claim = Claim("right", 0.9, 0.8, 1.0, 20, 0.5, null_is="chance", title="Right answers", kind="share")
    write_results(made.results, Results("s", "It is so.", (claim, Claim("count", 3.0))))
    made.artifacts.mkdir(exist_ok=True)
    return made


def head_of(text):
    return yaml.safe_load(text.split("---")[1])


def test_the_card_says_how_it_was_made_and_what_was_found(run):
    path = run.artifacts / "model.safetensors"
    save_file(
        {"w": torch.ones(2, 2)}, path, metadata={"digsite.graft": json.dumps({"method": "union", "new": 0.5})}
    )
    text = render_card(describe_saved(path), "o/n")
    assert head_of(text) == {"library_name": "digsite", "tags": ["digsite", "grafted-model"]}
    assert "# Is | it &lt;b>so&lt;/b>?" in text and "It is so." in text
    assert "| method | union |" in text and "| new | 0.5 |" in text
    assert "| Right answers | 0.9 | 0.8 to 1 | 20 | 0.5 (chance) |" in text
    assert 'fetch_saved("o/n")' in text and "No null stands" not in text


def test_without_a_run_the_card_says_that_no_null_was_measured(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "m.safetensors")
    assert "No null stands beside these numbers" in render_card(
        describe_saved(tmp_path / "m.safetensors"), "o/n"
    )


def test_a_pruned_folder_a_zoo_and_what_is_nothing(tmp_path):
    pruned, zoo = tmp_path / "pruned", tmp_path / "zoo"
    atomic_json(
        pruned / "pruning.json",
        {
            "provenance": {"model": "hub:o/base@main", "seed": 0},
            "before": {"perplexity": 8.0},
            "after": {"perplexity": 9.5},
            "ledger": [{"name": "l.0", "relative_error": 0.25}],
        },
    )
    text = render_card(describe_saved(pruned), "o/n")
    assert head_of(text)["base_model"] == "o/base"
    assert "| perplexity after | 9.5 |" in text and "| relative error of l.0 | 0.25 |" in text
    atomic_json(
        zoo / "zoo.json",
        {
            "name": "digits",
            "blocks": [{"count": 5}, {"count": 7}],
            "architectures": [{}],
            "steps": [0, 9],
            "recipe": {"lr": 0.1},
        },
    )
    assert "| networks | 12 |" in render_card(describe_saved(zoo), "o/n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="nothing that digsite saves"):
        describe_saved(tmp_path / "empty")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(UsageError, match="no safetensors file"):
        describe_saved(tmp_path / "x.safetensors")


def atomic_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(path, value)


def test_a_card_of_somebody_else_is_not_replaced(tmp_path):
    atomic_json(tmp_path / "zoo.json", {"name": "a", "blocks": []})
    assert write_card(tmp_path) == write_card(tmp_path)
    (tmp_path / "README.md").write_text("# Mine")
    with pytest.raises(UsageError, match="somebody else's page"):
        write_card(tmp_path)


def test_there_and_back(run, hub):
    path = run.artifacts / "model.safetensors"
    save_file({"w": torch.arange(6.0).reshape(2, 3)}, path, metadata={"note": "n"})
    assert push_saved(path, "me/thing", endpoint=hub.address, token="t") == f"{hub.address}/me/thing"
    sent = hub.repos["me/thing"]
    assert sent["private"] is True and set(sent["files"]) >= {"README.md", "model.safetensors"}
    assert sent["files"]["model.safetensors"] == path.read_bytes()
    back = fetch_saved("me/thing", endpoint=hub.address, token="t")
    assert back.name == "model.safetensors"
    assert torch.equal(open_weights(back).tensors["w"], torch.arange(6.0).reshape(2, 3))


def test_only_data_is_sent(tmp_path, hub):
    folder = tmp_path / "zoo"
    atomic_json(folder / "zoo.json", {"name": "a", "blocks": []})
    for name in ("code.py", "weights.pt", ".secret.json", "table.csv"):
        (folder / name).write_text("x")
    (folder / "link.txt").symlink_to(tmp_path / "elsewhere")
    push_saved(folder, "me/zoo", endpoint=hub.address, token="t")
    assert set(hub.repos["me/zoo"]["files"]) - {".gitattributes"} == {"README.md", "zoo.json", "table.csv"}


def test_nothing_is_sent_unasked(run, hub, monkeypatch, cli):
    """Looking at a card, or answering no, sends nothing; and nothing is sent offline."""
    path = run.artifacts / "model.safetensors"
    save_file({"w": torch.ones(1)}, path)
    describe_saved(path)
    assert cli("card", path)[0] == 0
    assert cli("push", path, "me/thing")[0] != 0  # nobody says yes
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    with pytest.raises(UsageError, match="nothing is sent"):
        push_saved(path, "me/thing", endpoint=hub.address)
    assert not hub.asked


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_hub_that_refuses_is_one_sentence(run, hub, status):
    path = run.artifacts / "model.safetensors"
    save_file({"w": torch.ones(1)}, path)
    hub.refuses = status
    with pytest.raises(DigsiteError, match="me/thing") as told:
        push_saved(path, "me/thing", endpoint=hub.address, token="t")
    assert "\n" not in told.value.message and not hub.commits


def test_what_is_not_there_is_said(hub):
    with pytest.raises(NotFound, match="no 'me/none'"):
        fetch_saved("me/none", endpoint=hub.address, token="t")
    with pytest.raises(UsageError, match="no name of the hub"):
        fetch_saved("a/b/c/d", endpoint=hub.address)


def test_objects_have_the_two_names_of_the_field(tmp_path, hub):
    """A decomposition, through the hub and back, gives the same numbers."""
    from digsite import Decomposition, decompose

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False))
    found = decompose(model, ["0"], torch.randn(64, 4), C=3, steps=3)
    found.push_to_hub("me/parts", endpoint=hub.address, token="t")
    path = fetch_saved("me/parts", endpoint=hub.address, token="t")
    back = Decomposition.load(path, model=torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False)))
    assert torch.equal(back.components("0").V, found.components("0").V)
    assert "# Parts of a network's weights" in hub.repos["me/parts"]["files"]["README.md"].decode()
