"""`codec serve` as a program: it serves, refuses, and ends."""

import builtins
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from toneme.cli import run
from toneme.codecs.errors import TonemeError
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.export.folder import export_codec
from toneme.export.server_limits import MESSAGE_BYTES

from .conftest import heed_interrupts

SMALL = {"encoder_dim": 8, "encoder_blocks": (1, 1), "decoder_dim": 8, "decoder_blocks": (1, 1), "latent_dim": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("serve") / "tiny"
    export_codec(TonemeCodec(TonemeConfig(**SMALL, codebooks=2, codebook_size=16), "tiny").eval(), place)
    return place


@contextmanager
def serving(folder, **options):
    """Start a server, and give its process and its port."""
    program = [sys.executable, "-P", "-c", "from toneme.cli import main; main()"]
    command = [*program, "serve", "--codec", str(folder), "--port", "0", "--max-connections", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed_interrupts, **options) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            assert line.startswith("serving tiny on http://127.0.0.1:"), line
            yield server, int(line.split(":")[2].split("/")[0])
        except BaseException:
            server.kill()  # or a test that fails would wait for the server for ever
            raise


@pytest.fixture(scope="module")
def port(folder):
    """A server's port."""
    with serving(folder) as (server, port):
        yield port
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_that_the_end_of_the_server_meets_is_told_and_nothing_else_is(folder, number):
    """Half of a body has come, so that the request outlasts the seconds that it gets to finish."""
    with serving(folder, stderr=subprocess.PIPE) as (server, port):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n" + bytes(50))
            while not info(port)["connections"]:
                time.sleep(0.05)
            server.send_signal(number)
            answer = client.makefile("rb").read()
        messages = server.communicate(timeout=30)[1]
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"the server is being ended: try again later" in answer
    assert server.returncode == 128 + number
    assert "Traceback" not in messages


def info(port: int) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/info") as answer:
        return json.load(answer)


def test_it_streams_over_a_socket(port):
    client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    with client.connect(f"ws://127.0.0.1:{port}/v1/encode") as stream:
        assert json.loads(stream.recv())["codec"] == "tiny"
        stream.send(bytes(2 * 4800))
        first = stream.recv()
        stream.send(json.dumps({"end": True}))
        *rest, last = list(stream)
        assert json.loads(last) == {"end": True, "samples": 4800}
        assert len(first) + sum(map(len, rest)) == 10 * 2 * 2


def test_long_messages_are_refused_before_they_are_taken(port):
    client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    from websockets.exceptions import ConnectionClosedError

    with client.connect(f"ws://127.0.0.1:{port}/v1/encode", compression=None) as stream:
        stream.recv()
        stream.send(bytes(MESSAGE_BYTES + 2))
        with pytest.raises(ConnectionClosedError) as closed:
            stream.recv()
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


def test_a_connection_that_is_cut_frees_its_place(port):
    client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    for _ in range(3):  # there are two places
        with client.connect(f"ws://127.0.0.1:{port}/v1/encode") as stream:
            assert "codec" in json.loads(stream.recv())
            stream.send(bytes(960))
            stream.socket.shutdown(socket.SHUT_RDWR)  # no close frame: the client is gone
        for _ in range(500):
            if not info(port)["connections"]:
                break
        assert info(port)["connections"] == 0


def test_a_port_that_is_taken_is_one_sentence(port, folder, capsys):
    assert run(["serve", "--codec", str(folder), "--port", str(port)]) == 1
    assert f"cannot be listened on at port {port}" in capsys.readouterr().err


def test_the_chunks_of_streams_are_what_was_asked_for(folder, monkeypatch, capsys):
    asked = []

    def stop(folder, limits, *rest):
        asked.append(limits.chunk)
        raise TonemeError("enough")

    monkeypatch.setattr("toneme.export.server.make_app", stop)
    assert run(["serve", "--codec", str(folder), "--chunk-seconds", "0.25"]) == 1
    assert run(["serve", "--codec", str(folder), "--chunk-seconds", "0"]) == 2
    assert asked == [0.25]
    assert "--chunk-seconds must be a number of seconds above 0; got 0" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(folder, capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "uvicorn":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run(["serve", "--codec", str(folder)]) == 1
    assert 'pip install ".[serve]"' in capsys.readouterr().err
