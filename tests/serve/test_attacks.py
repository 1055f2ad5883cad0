"""Attacks on the dashboard: paths, links, hosts, tokens, and markup in everything that a run can say."""

import json
from html.parser import HTMLParser
from urllib.parse import quote

import numpy as np
import pytest
from safetensors.numpy import save_file
from starlette.testclient import TestClient

from digsite.base import families
from digsite.record.results import Claim, Results, write_results
from digsite.serve import build_app
from digsite.serve.security import COOKIE

ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


OUTSIDE = [
    "../../../secret.txt",
    "..%2f..%2f..%2fsecret.txt",
    "%2e%2e/%2e%2e/%2e%2e/secret.txt",
    "%252e%252e/secret.txt",
    "..\\..\\secret.txt",
    "..%5c..%5csecret.txt",
    "figures/../../../../secret.txt",
    "%2e/run.log",
    "/etc/passwd",
    "//etc/passwd",
    "%00",
    "run.log%00.png",
    ".lock",
    "checkpoints",
    "",
    "a" * 5000,
]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("place", ["files", "tables", "views"])
def test_no_path_leads_out_of_the_run(served, planned, root, path, place, address):
    run = planned()
    run.log.write_text("log")
    run.lock.write_text("")
    run.checkpoints.mkdir()
    (root.parent / "secret.txt").write_text("SECRET")
    (root.parent / "secret.txt.csv").write_text("SECRET")
    for answer in (
        served.get(f"{address(run)}/{place}/{path}"),
        served.get(f"/api{address(run)}/{place}/{path}"),
    ):
        assert answer.status_code in (404, 307, 200 if path == "" else 404), answer.status_code
        assert "SECRET" not in answer.text and "root:" not in answer.text


@pytest.mark.parametrize("path", ["%2e%2e", ".trash", ".sweeps", "a%2fb", "..%2f..", "%00"])
def test_no_run_is_named_by_a_path(served, planned, root, path):
    run = planned()
    hidden = root / ".trash" / "study" / run.id
    hidden.parent.mkdir(parents=True)
    run.path.rename(hidden)
    for start in ("/runs", "/api/runs", "/zoo"):
        assert served.get(f"{start}/{path}/{run.id}").status_code == 404
        assert served.get(f"{start}/study/{path}").status_code == 404
    assert served.get(f"/compare?run={path}/{run.id}").status_code == 404


def test_links_are_refused_wherever_they_stand(served, planned, root, address):
    run = planned(views=[{"name": "v", "kind": "table", "source": "tables/link.csv"}])
    secret = root.parent / "secret"
    secret.mkdir()
    for name in ("a.csv", "a.svg", "metrics.jsonl", "run.log", "launch.yaml"):
        (secret / name).write_text("SECRET\n")
    run.tables.mkdir()
    (run.tables / "link.csv").symlink_to(secret / "a.csv")
    (run.path / "figures").symlink_to(secret)
    run.log.symlink_to(secret / "run.log")
    run.journal.symlink_to(secret / "metrics.jsonl")
    (root / "elsewhere").symlink_to(secret)
    (root / "study" / "linked").symlink_to(run.path)
    base = address(run)
    for path in ("/files/tables/link.csv", "/files/figures/a.svg", "/files/run.log", "/tables/link"):
        assert served.get(base + path).status_code == 404
    assert served.get(f"/api{base}/view?name=v").status_code == 404
    assert served.get("/runs/study/linked").status_code == 404
    for path in ("/", base, f"/api{base}/metrics", f"/api{base}", "/sweeps", "/zoo"):
        answer = served.get(path)
        assert answer.status_code == 200 and "SECRET" not in answer.text, path
    assert "data:image" not in served.get(f"{base}/report").text
    assert "linked" not in served.get("/").text


@pytest.mark.parametrize(
    "source",
    ["../../other.csv", "/etc/passwd", "launch.yaml", ".lock", "tables/../launch.yaml", "", "x.csv#"],
)
def test_a_view_cannot_point_outside(served, planned, source, address):
    run = planned(
        views=[
            {"name": "v", "kind": kind, "source": source}
            for kind in families.list_members("digsite.serve.views")
        ]
    )
    for kind in families.list_members("digsite.serve.views"):
        run.views.write_text(json.dumps([{"name": "v", "kind": kind, "source": source}]))
        answer = served.get(f"/api{address(run)}/view?name=v")
        assert answer.status_code in (400, 404), (kind, answer.text)


def test_nothing_that_a_run_says_becomes_markup(served, planned, root, address):
    run = planned(
        "study",
        config={"seed": 0, "note": ATTACK, ATTACK: ATTACK},
        launch={"tags": [ATTACK], "purpose": ATTACK},
        views=[{"name": ATTACK, "kind": "table", "source": ATTACK, "title": ATTACK, "caption": ATTACK}],
        message=ATTACK,
        stage=ATTACK,
    )
    run.log.write_text(ATTACK + "\n")
    run.journal.write_text(json.dumps({"step": 0, ATTACK: 1.0}) + "\n")
    write_results(
        run.results, Results("study", ATTACK, (Claim(ATTACK, 1.0, 0.5, 1.5, 3, 0.0, ATTACK, ATTACK),))
    )
    run.error.write_text(json.dumps({"message": ATTACK, "traceback": ATTACK}))
    run.tables.mkdir()
    (run.tables / "t.csv").write_text(f'"{ATTACK.replace(chr(34), chr(34) * 2)}"\n<i>\n')
    run.figures.mkdir()
    (run.figures / "f.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    )
    (run.figures / "f.txt").write_text(ATTACK)
    base = address(run)
    pages = [
        "/",
        f"/?q={quote(ATTACK)}&where={quote(ATTACK)}&tag={quote(ATTACK)}&study={quote(ATTACK)}",
        base,
        f"{base}/report",
        f"{base}/tables/t",
        f"{base}/views/{quote(ATTACK)}",
        f"/compare?run=study/{run.id}",
        f"/runs/{quote(ATTACK)}/x",
    ]
    for path in pages:
        answer = served.get(path)
        tags = Tags(answer.text).found
        scripts = [a for tag, a in tags if tag == "script"]
        assert all(a.get("src", "").startswith("/assets/") for a in scripts), path
        assert not [a for _, attributes in tags for a in attributes if a.startswith("on") or a == "style"], (
            path
        )
        assert ATTACK not in answer.text, path


def test_files_of_a_run_cannot_run_in_the_browser(served, planned, address):
    run = planned()
    run.figures.mkdir()
    (run.figures / "f.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    )
    (run.path / "page.html").write_text("<script>alert(1)</script>")
    (run.path / "data.json").write_text("<script>alert(1)</script>")
    svg = served.get(f"{address(run)}/files/figures/f.svg")
    assert "sandbox" in svg.headers["content-security-policy"]
    assert "script-src" not in svg.headers["content-security-policy"]
    html = served.get(f"{address(run)}/files/page.html")
    assert html.headers["content-type"] == "application/octet-stream"
    assert html.headers["content-disposition"].startswith("attachment")
    assert served.get(f"{address(run)}/files/data.json").headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/", "/sweeps", "/zoo", "/assets/run.js", "/api/runs", "/nothing"])
def test_every_answer_carries_the_policy(served, path):
    headers = served.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 200),
        ("localhost:8477", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8477", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("10.0.0.5", 421),
        ("", 421),
        ("localhost@evil.example", 421),
    ],
)
def test_only_known_hosts_are_answered(served, host, code):
    assert served.get("/", headers={"host": host}).status_code == code


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(served, planned, method, address):
    run = planned()
    for path in ("/", address(run), f"/api{address(run)}"):
        assert served.request(method, path).status_code == 405


@pytest.fixture
def guarded(root):
    with TestClient(build_app(root, token="s3cret"), base_url="http://localhost") as client:
        yield client


def test_without_the_token_nothing_is_shown(guarded):
    for path in ("/", "/api/runs", "/assets/run.js", "/runs/a/b", "/?token=wrong", "/?token="):
        assert guarded.get(path).status_code == 401
    assert guarded.get("/", headers={"authorization": "Bearer s3cre"}).status_code == 401
    assert guarded.get("/", headers={"cookie": f"{COOKIE}=wrong"}).status_code == 401
    assert guarded.get("/", headers={"cookie": b"\xc3\xa9=\x01;;;"}).status_code == 401


def test_the_token_becomes_a_cookie_and_leaves_the_address(guarded):
    answer = guarded.get("/?token=s3cret&q=x", follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/?q=x"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert guarded.get("/").status_code == 200
    guarded.cookies.clear()
    assert guarded.get("/api/runs", headers={"authorization": "Bearer s3cret"}).status_code == 200


def test_the_redirect_stays_here(guarded):
    answer = guarded.get("http://localhost//evil.example/?token=s3cret", follow_redirects=False)
    assert answer.headers["location"].startswith("/evil.example/")


def test_with_a_token_addresses_are_known_hosts_but_foreign_names_are_not(guarded):
    bearer = {"authorization": "Bearer s3cret"}
    assert guarded.get("/", headers={**bearer, "host": "10.0.0.5:8477"}).status_code == 200
    assert guarded.get("/", headers={**bearer, "host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        (2**62).to_bytes(8, "little"),
        b"\x02\x00\x00\x00\x00\x00\x00\x00[]",
        b"\x03" + b"\x00" * 7 + b"{{{",
    ],
)
def test_a_broken_tensor_file_costs_its_own_view_only(served, planned, content, address):
    run = planned(views=[{"name": "v", "kind": "matrix", "source": "artifacts/x.safetensors#w"}])
    run.artifacts.mkdir()
    (run.artifacts / "x.safetensors").write_bytes(content)
    assert served.get(f"/api{address(run)}/view?name=v").status_code == 400
    assert served.get(address(run)).status_code == 200


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 1000]},
        {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [-100, -84]},
        {"dtype": "PICKLE", "shape": [2, 2], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": "2", "data_offsets": [0, 16]},
        {"dtype": "F32"},
        7,
    ],
)
def test_a_lying_header_is_not_believed(served, planned, entry, address):
    run = planned(views=[{"name": "v", "kind": "matrix", "source": "artifacts/x.safetensors#w"}])
    run.artifacts.mkdir()
    header = json.dumps({"w": entry}).encode()
    (run.artifacts / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    answer = served.get(f"/api{address(run)}/view?name=v")
    assert answer.status_code == 400, answer.text


BROKEN = [
    b"",
    b"\xff\xfe",
    b"[1, 2",
    b"null",
    b"7",
    b'{"state": 5}',
    b'{"state": "running", "step": "<b>", "total": {}}',
]


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_run_does_not_take_the_list_down(served, planned, content, address):
    bad, good = planned(), planned()
    for path in (bad.status_file, bad.results, bad.views, bad.provenance, bad.journal, bad.error):
        path.write_bytes(content)
    listed = served.get("/")
    assert listed.status_code == 200 and good.id in listed.text and bad.id in listed.text
    for path in (
        address(bad),
        f"/api{address(bad)}/metrics",
        f"{address(bad)}/report",
        f"/compare?run=study/{bad.id}&run=study/{good.id}",
    ):
        assert served.get(path).status_code == 200, path


def test_wild_queries_are_harmless(served, planned, address):
    run = planned(views=[{"name": "m", "kind": "matrix", "source": "artifacts/x.safetensors#w"}])
    run.artifacts.mkdir()
    save_file({"w": np.ones((4, 5), np.float32)}, run.artifacts / "x.safetensors")
    base = f"/api{address(run)}"
    for query in (
        "page=-1",
        "page=99999999999",
        "page=x",
        "sort=__class__",
        "up=%F0%9F%92%A9",
        "q=" + "x" * 5000,
        "where=a%00=1",
    ):
        assert served.get(f"/?{query}").status_code == 200, query
    for query in (
        "level=99",
        "level=-1",
        "row=7",
        "column=x",
        "level=9999999999999",
        "rows=given",
        "lead=1,2",
        "lead=-1",
    ):
        assert served.get(f"{base}/tile?name=m&{query}").status_code in (400, 404), query
    for query in ("top=0&left=0&height=999999&width=999999", "top=9&left=0&height=1&width=1", "height=0"):
        answer = served.get(f"{base}/cells?name=m&{query}")
        assert answer.status_code in (200, 400) and len(answer.content) < 10_000, query
    assert served.get(f"{base}/near?name=m&index=99").status_code == 400
    assert served.get(f"{base}/near?name=m&index=1&k=99999").status_code == 200
