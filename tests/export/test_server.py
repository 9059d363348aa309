"""The server: files, streams, limits, refusals, and clients that vanish."""

import asyncio
import gc
import http.client
import io
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import toneme
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.snac import SnacCodec, SnacConfig
from toneme.codecs.tokenfile import read_tok
from toneme.export import server as server_module
from toneme.export import server_streams
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec
from toneme.export.server import Server, make_app
from toneme.export.server_limits import MESSAGE_BYTES, Limits, RefusedError, Slots

from .agreement import check_share
from .live import serving

pytest.importorskip("httpx", reason="starlette's test client needs httpx")
from starlette.requests import Request
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "safetensors", "onnx", "onnxscript", "transformers"}:
            raise ImportError(f"{name} is absent here")

sys.meta_path.insert(0, Refuse())
from pathlib import Path
from starlette.testclient import TestClient
from toneme.export.server import make_app

with TestClient(make_app(Path(sys.argv[1])), base_url="http://127.0.0.1:8765") as client:
    made = client.post("/v1/encode", content=sys.stdin.buffer.read())
    sys.stdout.buffer.write(made.content + client.post("/v1/decode", content=made.content).content)
"""
SPEECH = Path(__file__).parents[2] / "samples" / "speech.wav"


def client_of(folder: Path, **limits) -> TestClient:
    return TestClient(make_app(folder, Limits(**limits)), base_url="http://127.0.0.1:8765")


def connect(client: TestClient, path: str, **options):
    return client.websocket_connect(f"ws://127.0.0.1:8765{path}", **options)  # else starlette's own host is asked for


@pytest.fixture
def client(small_folder):
    with client_of(small_folder) as client:
        yield client


@pytest.fixture(scope="module")
def codec(small_folder) -> StreamingCodec:
    return StreamingCodec(small_folder)


@pytest.fixture(scope="module")
def pcm() -> np.ndarray:
    """Two seconds of speech, int16."""
    return soundfile.read(SPEECH, dtype="int16")[0][:48000]


def wav(pcm: np.ndarray, rate: int = 24000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def pieces(pcm: np.ndarray, size: int) -> list[bytes]:
    return [pcm[i : i + size].astype("<i2").tobytes() for i in range(0, len(pcm), size)]


def refused(answer, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def closed(socket, code: int, words: str) -> None:
    """The server says why, and closes with a code."""
    assert words in socket.receive_json()["error"]
    with pytest.raises(WebSocketDisconnect) as end:
        socket.receive_text()
    assert end.value.code == code
    assert end.value.reason


def test_info_says_what_the_codec_is(client, codec):
    about = client.get("/v1/info").json()
    assert about["codec"] == "small"
    assert about["sample_rate"] == 24000
    assert about["kbps"] == [0.3, 0.6, 0.9, 1.2]
    assert about["limits"] == {"seconds": 600.0, "bytes": 32 << 20, "connections": 64, "idle": 30.0, "chunk_seconds": None}
    assert about["connections"] == 0
    assert set(client.get("/openapi.json").json()["paths"]) >= {"/v1/info", "/v1/encode", "/v1/decode"}


def test_files_there_and_back(client, codec, pcm, tmp_path):
    answer = client.post("/v1/encode", params={"codebooks": 3, "packed": True}, content=wav(pcm))
    assert answer.status_code == 200, answer.text
    (tmp_path / "speech.tok").write_bytes(answer.content)
    tokens = read_tok(tmp_path / "speech.tok")
    assert int(tokens.n_samples[0]) == len(pcm)
    check_share(tokens.codes.numpy(), codec.encode(pcm, 3), least=0.99)
    sound = client.post("/v1/decode", content=answer.content)
    assert sound.headers["content-type"] == "audio/wav"
    decoded, rate = soundfile.read(io.BytesIO(sound.content))
    assert (rate, len(decoded)) == (24000, len(pcm))
    np.testing.assert_allclose(decoded, codec.decode(tokens.codes.numpy(), len(pcm))[0, 0], atol=2 / 32768)


def test_other_rates_formats_and_bitrates(client, tmp_path):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 16000, format="FLAC")
    answer = client.post("/v1/encode?bitrate=0.7", content=file.getvalue())
    (tmp_path / "x.tok").write_bytes(answer.content)
    tokens = read_tok(tmp_path / "x.tok")
    assert (tokens.depth, int(tokens.n_samples[0])) == (2, 12000)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/encode", b"no audio", 415, "send WAV, FLAC, Ogg or MP3"),
        ("/v1/encode", b"#EXTM3U\nfile:///etc/passwd\n", 415, "send WAV"),
        ("/v1/encode?codebooks=5", b"", 422, "codebooks must be from 1 to 4; got 5"),
        ("/v1/encode?codebooks=many", b"", 422, "codebooks is not understood"),
        ("/v1/encode?bitrate=0.1", b"", 422, "lowest rate"),
        ("/v1/encode?bitrate=1&codebooks=2", b"", 422, "not both"),
        ("/v1/encode", wav(np.zeros(0, np.int16)), 422, "holds no samples"),
        ("/v1/encode", wav(np.zeros(9000, np.int16))[:-100], 422, "ends before its header says"),
        ("/v1/decode", b"no tokens", 422, "not a token file"),
        ("/v1/decode", b"", 422, "the file is empty"),
    ],
)
@pytest.mark.filterwarnings("ignore:the stream ends before its header says")
def test_what_is_not_understood_is_refused(client, path, body, status, words):
    refused(client.post(path, content=body), status, words)
    assert client.app.state.server.slots.used == 0


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx"])
def test_a_damaged_folder_is_not_served(small_folder, tmp_path, name):
    damaged = shutil.copytree(small_folder, tmp_path / "damaged")
    (damaged / name).write_bytes((damaged / name).read_bytes()[:1000])
    with pytest.raises(toneme.CheckpointError, match=rf"{name} cannot be loaded .*: export the codec again"):
        make_app(damaged)


@pytest.mark.parametrize("path", ["/v1/encode", "/v1/decode"])
def test_a_file_in_a_form_is_told_how_to_come(client, pcm, path):
    refused(client.post(path, files={"file": wav(pcm)}), 415, "a form came: send the file itself")


def test_cut_and_foreign_tokens_are_refused(client, pcm, tmp_path):
    data = client.post("/v1/encode", content=wav(pcm)).content
    refused(client.post("/v1/decode", content=data[:-20]), 422, "cut short")
    toneme.load("default").encode(np_tensor(pcm), 24000).save(tmp_path / "other.tok")
    refused(client.post("/v1/decode", content=(tmp_path / "other.tok").read_bytes()), 422, "made by toneme-24k")


def np_tensor(pcm: np.ndarray):
    import torch

    return torch.from_numpy(pcm[:4800].astype(np.float32) / 32768)


def test_limits_of_files(small_folder, pcm):
    with client_of(small_folder, seconds=1.5, bytes=200_000) as client:
        refused(client.post("/v1/encode", content=wav(pcm)), 413, "at most 1.5 s")
        refused(client.post("/v1/encode", content=bytes(200_001)), 413, "at most 200000 bytes")
        refused(client.post("/v1/encode", content=iter([bytes(150_000)] * 2)), 413, "at most 200000 bytes")
        tokens = client.post("/v1/encode", content=wav(pcm[:24000]))
        assert tokens.status_code == 200
    with client_of(small_folder, seconds=0.5) as client:
        refused(client.post("/v1/decode", content=tokens.content), 413, "at most 0.5 s")


@pytest.mark.parametrize("size", [16_000_001, 32_000_000])
def test_who_sends_too_much_hears_why(small_folder, size):
    with serving(make_app(small_folder, Limits(bytes=16_000_000))) as address:
        connection = http.client.HTTPConnection(address)
        # sends all of it before it listens, to a server that goes once it has answered
        connection.request("POST", "/v1/encode", bytes(size), {"Connection": "close"})
        answer = connection.getresponse()
        assert answer.status == 413
        assert "at most 16000000 bytes" in json.loads(answer.read())["error"]
        connection.request("GET", "/v1/info")
        assert json.loads(connection.getresponse().read())["connections"] == 0


def test_who_goes_while_sending_is_forgotten_without_a_word(small_folder, caplog):
    def served() -> int:
        with urllib.request.urlopen(f"http://{address}/v1/info") as answer:
            return json.loads(answer.read())["connections"]

    def wait_for(count: int) -> None:
        assert any(served() == count or threading.Event().wait(0.05) for _ in range(600))

    with serving(make_app(small_folder)) as address:
        connection = http.client.HTTPConnection(address)
        connection.putrequest("POST", "/v1/encode")
        connection.putheader("Content-Length", "100000")
        connection.endheaders(bytes(5000))
        wait_for(1)
        connection.close()
        wait_for(0)
    assert not caplog.records


@pytest.mark.parametrize("size", [1920, 1000])
def test_streams_there_and_back(client, codec, pcm, size):
    with connect(client, "/v1/encode?codebooks=2") as socket:
        about = socket.receive_json()
        assert about["codes"] == {"type": "u16le", "unit_codes": 2, "unit_samples": 480}
        codes = b"".join(send(socket, pieces(pcm, size), 960, about))
    found = np.frombuffer(codes, "<u2").reshape(-1, 2).T[None].astype(np.int64)
    check_share(found, codec.encode(pcm, 2), least=0.99)
    with connect(client, "/v1/decode?codebooks=2&format=f32le") as socket:
        about = socket.receive_json()
        messages = [codes[i : i + 16] for i in range(0, len(codes), 16)]
        sound = np.frombuffer(b"".join(send(socket, messages, 4, about)), "<f4")
    np.testing.assert_allclose(sound, codec.decode(found)[0, 0], atol=1e-5)


@pytest.fixture(scope="module")
def in_chunks(tmp_path_factory) -> Path:
    """A codec of 1 kHz that works in chunks of 1.024 s of 32 samples, each with as much around it as it sees."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blocks = DacBlocksConfig(8, (2, 4), 32, 32, depthwise=True, noise=True)
        codec = SnacCodec(SnacConfig(1000, blocks, (4, 2, 1), 32, 4), "small-snac").eval()
    export_codec(codec, folder := tmp_path_factory.mktemp("chunks") / "snac")
    return folder


@pytest.mark.slow
def test_streams_in_chunks_are_as_soon_as_they_ask_for(in_chunks):
    pcm = np.random.default_rng(0).normal(0, 3000, 3000).astype("<i2").tobytes()
    answers = {}
    with client_of(in_chunks, chunk=0.5) as client:
        assert client.get("/v1/info").json()["limits"]["chunk_seconds"] == [0.096, 0.512]
        for query in ("", "?chunk_seconds=0.2"):
            with connect(client, f"/v1/encode{query}") as socket:
                about = socket.receive_json()
                socket.send_bytes(pcm[: 2 * about["latency"]])
                first = socket.receive_bytes()
                answers[about["latency"]] = first + b"".join(send(socket, [pcm[2 * about["latency"] :]], 0, about))
            with connect(client, f"/v1/decode{query}") as socket:
                assert socket.receive_json()["latency"] == about["latency"]
        with connect(client, "/v1/encode?chunk_seconds=0.6") as socket:
            closed(socket, 1007, "chunk_seconds must be from 0.096 to 0.512; got 0.6")
    (soon, short), (late, long) = sorted(answers.items())
    assert late - soon == 512 - 192
    assert short == long


def send(socket, messages: list[bytes], unit: int, about: dict) -> list[bytes]:
    """Send messages, end the stream, and return all answers."""
    for message in messages:
        socket.send_bytes(message)
    socket.send_json({"end": True})
    answers = []
    while True:
        message = socket.receive()
        if message.get("bytes") is not None:
            answers.append(message["bytes"])
        elif message.get("text") is not None:
            assert '"end":true' in message["text"].replace(" ", "")
        else:
            assert message["code"] == 1000
            return answers


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("codebooks=9", 1007, "from 1 to 4; got 9"),
        ("codebooks=-1", 1007, "must be a whole number; got '-1'"),
        ("format=mp3", 1007, "one of s16le, f32le"),
        ("sample_rate=16000", 1007, "works at 24000 Hz"),
        ("chunk_seconds=short", 1007, "a number of seconds above 0, such as 0.5; got 'short'"),
    ],
)
def test_streams_that_ask_for_what_is_not_there(client, query, code, words):
    for path in ("/v1/encode", "/v1/decode"):
        with connect(client, f"{path}?{query}") as socket:
            closed(socket, code, words)


@pytest.mark.parametrize(
    ("path", "message", "code", "words"),
    [
        ("/v1/encode", b"\0\0\0", 1007, "whole samples of 2 bytes; got 3"),
        ("/v1/encode", bytes(MESSAGE_BYTES + 2), 1009, "a message holds at most"),
        ("/v1/encode?format=f32le", np.float32(np.nan).tobytes(), 1007, "NaN"),
        ("/v1/encode", "hello", 1007, '{"end": true}'),
        ("/v1/encode", "[" * 100_000, 1007, '{"end": true}'),
        ("/v1/decode", b"\0\0", 1007, "whole units of 8 bytes; got 2"),
        ("/v1/decode", b"\xff\xff" * 4, 1007, "from 0 to 63; got 65535"),
    ],
)
def test_messages_that_are_not_understood(client, path, message, code, words):
    with connect(client, path) as socket:
        socket.receive_json()
        socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message)
        closed(socket, code, words)
    assert client.app.state.server.slots.used == 0


def test_limits_of_streams(small_folder, pcm):
    with client_of(small_folder, seconds=0.5, connections=1, idle=0.2) as client:
        with connect(client, "/v1/encode") as socket:
            socket.receive_json()
            with connect(client, "/v1/encode") as second:
                closed(second, 1013, "all 1 places are taken")
            answer = client.post("/v1/encode", content=wav(pcm[:100]))
            refused(answer, 503, "all 1 places are taken")
            assert answer.headers["retry-after"] == "5"
            socket.send_bytes(pcm[:12001].tobytes())
            closed(socket, 1009, "at most 0.5 s")
        with connect(client, "/v1/encode") as socket:
            socket.receive_json()
            closed(socket, 1008, "nothing came for 0.2 s")


@pytest.mark.parametrize("path", ["/v1/encode", "/v1/decode"])
def test_a_client_that_vanishes_frees_its_state(client, monkeypatch, pcm, path):
    made = []
    for name in ("EncodingConversation", "DecodingConversation"):
        original = getattr(server_streams, name)

        def watched(*args, original=original):
            conversation = original(*args)
            made.append(weakref.ref(conversation.stream))
            return conversation

        monkeypatch.setattr(server_module, name, watched)
    with connect(client, path) as socket:
        socket.receive_json()
        socket.send_bytes(pcm[:4800].tobytes() if path == "/v1/encode" else bytes(80))
        socket.receive_bytes()
        assert client.app.state.server.slots.used == 1
        assert made[0]() is not None
    assert client.app.state.server.slots.used == 0
    for _ in range(100):  # the thread that served it may still be on its way out
        gc.collect()
        if made[0]() is None:
            break
        time.sleep(0.05)
    assert made[0]() is None


def test_a_client_that_vanishes_ends_the_work_on_its_file(small_folder, monkeypatch, pcm):
    from starlette.requests import Request

    async def gone(self):
        return True

    done = []
    original = server_module.encode_file

    def watched(*args):
        for step in original(*args):
            done.append(step)
            yield step

    monkeypatch.setattr(Request, "is_disconnected", gone)
    monkeypatch.setattr(server_module, "encode_file", watched)
    with client_of(small_folder) as client:
        assert client.post("/v1/encode", content=wav(pcm)).status_code == 499
        assert client.app.state.server.slots.used == 0
    assert len(done) == 1


def test_work_that_is_cancelled_ends_with_its_step():
    server = Server.__new__(Server)  # without a codec, which this work does not ask for
    server.limits, server.slots, server.pool = Limits(), Slots(1), ThreadPoolExecutor(1)
    begun, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work(data, target):
        try:
            begun.set()
            goes_on.wait(30)
            yield
        finally:
            ended.set()

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def cancelled():
        task = asyncio.create_task(server.run(Request({"type": "http", "headers": []}, receive), work, "audio/wav"))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(RefusedError, match="the server is being ended: try again later") as refusal:
            await task
        assert refusal.value.status == 503
        goes_on.set()

    asyncio.run(cancelled())
    server.pool.shutdown()
    gc.collect()
    assert ended.wait(30)
    assert server.slots.used == 0


def test_files_need_no_torch(client, small_folder, pcm):
    command = [sys.executable, "-P", "-c", WITHOUT_TORCH, str(small_folder)]
    done = subprocess.run(command, input=wav(pcm), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    made = client.post("/v1/encode", content=wav(pcm)).content
    assert done.stdout == made + client.post("/v1/decode", content=made).content
    assert made.startswith(b"\xffTOK")


def test_pages_of_other_sites_are_kept_out(client, small_folder):
    refused(client.post("/v1/encode", headers={"Origin": "https://example.com"}), 403, "other sites")
    refused(client.get("/v1/info", headers={"Host": "rebound.example.com"}), 403, "other sites")
    assert client.get("/v1/info", headers={"Origin": "http://127.0.0.1:8765"}).status_code == 200
    assert client.get("/v1/info", headers={"Host": "localhost:8765"}).status_code == 200
    with pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)):
        connect(client, "/v1/encode", headers={"Origin": "https://example.com"}).__enter__()
    with TestClient(make_app(small_folder, local=False), base_url="http://server.example.com") as open_client:
        assert open_client.get("/v1/info").status_code == 200
        refused(open_client.get("/v1/info", headers={"Origin": "https://example.com"}), 403, "other sites")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/encode", "POST"), ("PUT", "/v1/decode", "POST"), ("PUT", "/v1/info", "GET"), ("PUT", "/app.js", "GET, HEAD")],
)
def test_a_method_that_a_path_does_not_take_is_told_which_it_takes(client, method, path, allowed):
    answer = client.request(method, path)
    refused(answer, 405, f"{path} takes {allowed} and no {method}")
    assert answer.headers["allow"] == allowed


def test_the_model_is_served_and_nothing_else(client, small_folder):
    assert client.get("/model/codec.json").json()["codec"] == "small"
    assert client.get("/model/encoder.onnx").content == (small_folder / "encoder.onnx").read_bytes()
    refused(client.get("/model/golden.npz"), 404, "has no golden.npz")
    assert client.get("/model/..%2f..%2fpyproject.toml").status_code == 404
    refused(client.get("/ort/package.json"), 404, "npm install onnxruntime-web")
    refused(client.get("/v1/nothing"), 404, "there is no /v1/nothing here")
    with pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)):
        connect(client, "/v1/nothing").__enter__()
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'self'")
