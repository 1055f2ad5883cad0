"""A checkpoint sent to the page: what arrives, what is answered, and what is refused in one sentence."""

import re
from threading import Thread

import pytest
from starlette.testclient import TestClient

from digsite.base.errors import UsageError
from digsite.serve import build_app
from digsite.serve.pages import read

TOLD = {
    "what": "a network <of> 2 layers.",
    "answers": [{"question": "what was done to it?", "answer": "nothing.", "sureness": "probability 0.31"}],
    "predictions": [],
    "layers": [{"layer": "0.weight", "norm": 3.277}],
    "skipped": [],
    "notes": ["a note"],
}


class Reader:
    """Keeps what it was given to read."""

    def __init__(self):
        self.given, self.refuses = [], ""

    def __call__(self, path):
        self.given.append((path.name, path.read_bytes(), path.parent))
        if self.refuses:
            raise UsageError(self.refuses)
        return TOLD


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def reading(root, reader):
    with TestClient(build_app(root, read_checkpoint=reader), base_url="http://localhost") as client:
        yield client


def address_of(client):
    return re.search(r'action="(/read\?form=[^"]+)"', client.get("/read").text)[1]


def send(client, content=b"weights", name="m.safetensors"):
    return client.post(address_of(client), files={"file": (name, content)})


@pytest.mark.parametrize(
    "content", [b"weights", b"\r\n--x--\r\n\r\n" * 9, bytes(range(256)) * 9000, b"\r\n", b"\n"]
)
def test_every_byte_of_the_file_arrives_and_none_is_kept(reading, reader, content):
    page = send(reading, content)
    assert page.status_code == 200 and "a network &lt;of&gt; 2 layers." in page.text
    assert "what was done to it?" in page.text.lower() and "0.31" in page.text and "0.weight" in page.text
    ((name, bytes_, folder),) = reader.given
    assert (name, bytes_) == ("m.safetensors", content) and not folder.exists()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/m.pt", "m.pt"),
        ("C:\\m x.NPZ", "m_x.NPZ"),
        ("--help.pt", "help.pt"),
        ("é$(id).npz", "___id_.npz"),
    ],
)
def test_a_name_is_made_harmless(reading, reader, name, kept):
    assert send(reading, name=name).status_code == 200
    assert reader.given[0][0] == kept


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"", "m.pt", "&#39;m.pt&#39; is empty."),
        (b"x", "m.exe", "&#39;m.exe&#39; is no checkpoint that can be read here"),
        (b"x", "<b>.exe", "is no checkpoint"),
        (b"x", "...", "Choose a file first."),
    ],
)
def test_what_is_no_checkpoint_is_one_sentence(reading, reader, content, name, sentence):
    page = send(reading, content, name)
    assert page.status_code == 400 and sentence in page.text and not reader.given
    assert 'form class="drop"' in page.text  # the way to try again


def test_what_the_reader_refuses_is_shown_as_text(reading, reader):
    reader.refuses = "It holds <script>."
    page = send(reading)
    assert page.status_code == 400 and "It holds &lt;script&gt;." in page.text


def test_only_a_page_of_this_server_may_send(reading, reader):
    answer = reading.post("/read?form=stolen", files={"file": ("m.pt", b"x")})
    assert answer.status_code == 403 and "Only pages of this server" in answer.text
    assert reading.post("/read", files={"file": ("m.pt", b"x")}).status_code == 403
    assert not reader.given
    assert reading.post("/", files={"file": ("m.pt", b"x")}).status_code == 405


def test_a_server_without_a_reader_takes_nothing(served):
    assert served.post("/read", files={"file": ("m.pt", b"x")}).status_code == 405
    assert served.get("/read").status_code == 404 and 'href="/read"' not in served.get("/").text


@pytest.mark.parametrize(
    ("kind", "body", "status", "sentence"),
    [
        ("text/plain", b"x", 400, "Send one file"),
        ("multipart/form-data", b"x", 400, "Send one file"),
        ("multipart/form-data; boundary=b", b"x" * 20_000, 400, "Send one file"),
        ("multipart/form-data; boundary=b", b"", 400, "Choose a file first."),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nfilename="m.pt"\r\n\r\nhalf',
            400,
            "did not arrive whole",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--", 400, "Choose a file first."),
    ],
)
def test_a_body_that_is_no_form_is_one_sentence(reading, reader, kind, body, status, sentence):
    page = reading.post(address_of(reading), content=body, headers={"content-type": kind})
    assert page.status_code == status and sentence in page.text and not reader.given


def test_more_than_the_bound_is_refused_told_or_not(reading, reader, monkeypatch):
    monkeypatch.setattr(read, "LARGEST", 1000)
    page = send(reading, bytes(20_000))
    assert page.status_code == 413 and "at most 0 MB" in page.text

    def drip():  # without a length
        yield b'--b\r\nfilename="m.pt"\r\n\r\n'
        for _ in range(100):
            yield bytes(500)

    head = {"content-type": "multipart/form-data; boundary=b"}
    assert reading.post(address_of(reading), content=drip(), headers=head).status_code == 413
    assert not reader.given


def test_one_at_a_time(reading, reader):
    """A second visitor is asked to wait, and is served afterwards."""
    statuses = []

    def read_slowly(path):
        if not statuses:
            other = Thread(target=lambda: statuses.append(send(reading).status_code))
            other.start()
            other.join(60)
        return TOLD

    reading.app.app.state.site.__dict__["read_checkpoint"] = read_slowly  # a frozen dataclass
    assert send(reading).status_code == 200 and statuses == [503]
    assert send(reading).status_code == 200


def test_the_verb_itself_answers_and_refuses(tmp_path, monkeypatch):
    """A network is told apart from noise of the same name; a pickle with code in it is refused and not followed."""
    torch = pytest.importorskip("torch")
    from digsite.cli.serve import _read_checkpoint

    layers = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    torch.save(layers.state_dict(), tmp_path / "m.pt")
    found = _read_checkpoint(tmp_path / "m.pt")
    assert "fully connected network of 2 layers" in found["what"] and len(found["answers"]) == 4
    (tmp_path / "n.pt").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    with pytest.raises(UsageError, match=r"n\.pt"):
        _read_checkpoint(tmp_path / "n.pt")
    assert not (tmp_path / "executed").exists()
