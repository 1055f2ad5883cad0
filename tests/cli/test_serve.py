"""digsite serve."""

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest


@pytest.fixture
def serving(tmp_path):
    started = []

    def start(*words):
        command = [sys.executable, "-m", "digsite", "serve", "--port", "0", "--runs", str(tmp_path), *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1], started[-1].stdout.readline()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_says_where_it_is_and_ends_quietly(serving):
    process, line = serving()
    address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert address and "token" not in line
    assert urllib.request.urlopen(address[0], timeout=300).status == 200
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode in (0, 130) and errors == ""


def test_beyond_loopback_it_asks_for_a_token(serving):
    _, line = serving("--host", "0.0.0.0")
    found = re.search(r":(\d+)/\?token=([\w-]{20,})", line)
    assert found
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/", timeout=300)
    asked = urllib.request.Request(
        f"http://127.0.0.1:{found[1]}/", headers={"Authorization": f"Bearer {found[2]}"}
    )
    assert urllib.request.urlopen(asked, timeout=300).status == 200


def test_tokens_differ(serving):
    tokens = {re.search(r"token=([\w-]+)", serving("--token")[1])[1] for _ in range(2)}
    assert len(tokens) == 2


def test_a_taken_port_is_one_sentence(cli, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = cli("serve", "--port", taken.getsockname()[1], "--runs", tmp_path)
    assert code == 2 and "Cannot listen on '127.0.0.1'" in err and "--port 0" in err


def test_a_host_that_is_none(cli, tmp_path):
    code, _, err = cli("serve", "--host", "no.such.host.invalid", "--runs", tmp_path)
    assert code == 2 and "Cannot listen on 'no.such.host.invalid'" in err


def test_studies_are_listed_without_pytorch_in_the_dashboard(plugin_env):
    code = """
import sys, time
from digsite.cli.serve import _list_studies as told
began = time.process_time()
print(len(told("")), time.process_time() - began, len(told("cut-a-backdoor")[0]["settings"]), told("none"), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], env=plugin_env, capture_output=True, text=True)
    n, seconds, settings, none, loaded = done.stdout.split()
    assert int(n) > 50 and int(settings) > 5 and (none, loaded) == ("[]", "False")
    assert float(seconds) < 2  # CPU; .4 where nothing else runs: no method is loaded for the list
