"""The page: its token files byte by byte, in Node; all of it, in a real Chromium; how it is put together."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import toneme
from toneme.cli import run
from toneme.codecs.tokenfile import read_tok
from toneme.export.codec import ExportedCodec
from toneme.export.manifest import Side, State
from toneme.export.page import INSTALLED, PAGE, RUNTIME_FILES, runtime_folder, write_page
from toneme.export.runtime import StreamingCodec
from toneme.export.storage import FILES

from .conftest import written_apart

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "samples" / "speech.wav"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
MICROPHONE = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]  # a beep, granted without asking

ROUND_TRIP = """
import { readTok, writeTok } from "./tok.mjs";
import { readFileSync, writeFileSync } from "node:fs";
const { about, codes, samples, out } = JSON.parse(readFileSync(0, "utf8"));
const bytes = writeTok(about, codes.map((row) => Int32Array.from(row)), samples);
writeFileSync(out, bytes);
const back = readTok(bytes);
const same = back.codes.every((row, n) => row.every((code, t) => code === codes[n][t]) && row.length === codes[n].length);
const refused = [];
for (const cut of [0, 3, 5, 40, bytes.length - 30]) {
  try { readTok(bytes.subarray(0, cut)); refused.push("taken"); } catch (error) { refused.push(error.message); }
}
const spoilt = bytes.slice(); spoilt[bytes.length >> 1] ^= 4;
try { readTok(spoilt); refused.push("taken"); } catch (error) { refused.push(error.message); }
console.log(JSON.stringify({ same, samples: back.samples, codec: back.codec, refused }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed: the page's token files are tested in it")
@pytest.mark.parametrize(("frames", "depth"), [(1, 1), (37, 4), (2500, 4), (5000, 1), (0, 2)])
def test_token_files_are_the_same_bytes(small_folder, tmp_path, frames, depth):
    codec = ExportedCodec(small_folder)
    codes = torch.from_numpy(np.random.default_rng(frames).integers(0, 64, (1, depth, frames)))
    samples = max(0, frames * 480 - 7)
    tokens = codec.tokens_from_codes(codes, samples)
    with_length_unknown(tokens, tmp_path / "ours.tok")
    script = tmp_path / "script.mjs"
    script.write_text(ROUND_TRIP)
    shutil.copy(PAGE / "tok.js", tmp_path / "tok.mjs")
    given = {
        "about": codec.manifest.to_dict(),
        "codes": codes[0].tolist(),
        "samples": samples,
        "out": str(tmp_path / "theirs.tok"),
    }
    done = subprocess.run(["node", str(script)], input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "theirs.tok").read_bytes() == (tmp_path / "ours.tok").read_bytes()
    found = json.loads(done.stdout)
    assert found["same"]
    assert (found["samples"], found["codec"]) == (samples, "small")
    assert all("token file" in sentence for sentence in found["refused"])


RINGS = """
import { Codec } from "./codec.mjs";
const ort = { Tensor: class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } } };
const { decoder, frames } = JSON.parse(process.argv[2]);
const rings = [];
const graph = { outputNames: ["audio"], run: async (inputs) => {
  const position = Number(inputs["state.position"].data[0]), count = inputs.codes.dims[2];
  rings.push([position, Array.from(inputs["state.seen"].data)]);
  const rows = Float32Array.from({ length: 4 * count }, (_, n) => (n < 2 * count ? 1 : -1) * (position + (n >> 1) % count));
  return {
    audio: new ort.Tensor("float32", new Float32Array(count), [1, 1, count]),
    "next.position": new ort.Tensor("int64", BigInt64Array.of(BigInt(position + count)), [1]),
    "next.seen": new ort.Tensor("float32", rows, [1, 2, count, 2]),
  };
} };
const manifest = { decoder, streams: [{ hop: 1, codebook_sizes: [8] }], sample_rate: 8 };
await new Codec(ort, manifest, null, graph).decode([new Int32Array(frames)], frames);
console.log(JSON.stringify(rings));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed: the page's rings are tested in it")
@pytest.mark.parametrize("most", [2, 3, 7])
def test_rings_are_kept_as_the_runtime_keeps_them(tmp_path, most):
    states = (State("position", ("batch",), "int64"), State("seen", ("batch", 2, 5, 2), ring=2))
    script, given = tmp_path / "script.mjs", {"decoder": asdict(Side("x", "steps", 1, most=most, states=states)), "frames": 23}
    script.write_text(RINGS)
    shutil.copy(PAGE / "codec.js", tmp_path / "codec.mjs")
    done = subprocess.run(["node", str(script), json.dumps(given)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calls = json.loads(done.stdout)
    assert len(calls) == 23 // most
    for position, values in calls:
        ring = np.array(values).reshape(2, 5, 2)
        for slot in range(5):
            last = max(range(slot, position, 5), default=0)
            np.testing.assert_array_equal(ring[:, slot], [[last, last], [-last, -last]])


RECORD = """
import { record } from "./audio.mjs";
const timers = [];
globalThis.setTimeout = (action, time) => timers.push(time);
globalThis.MediaRecorder = class { start() {} };
Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: { getUserMedia: async () => ({}) } } });
await record(600, () => {});
console.log(JSON.stringify(timers));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed: the page's recorder is tested in it")
def test_a_recording_that_is_stopped_as_full_is_not_too_long_to_be_taken(tmp_path):
    (tmp_path / "script.mjs").write_text(RECORD)
    shutil.copy(PAGE / "audio.js", tmp_path / "audio.mjs")
    done = subprocess.run(["node", str(tmp_path / "script.mjs")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (milliseconds,) = json.loads(done.stdout)
    assert 590_000 < milliseconds <= 599_000


def with_length_unknown(tokens: toneme.Tokens, path: Path) -> None:
    """Write tokens as `codec encode --packed` does, which does not know the length when it begins."""
    from toneme.codecs.tokenfile import TokenWriter

    with TokenWriter(path, encoding="packed") as writer:
        writer.write(tokens)


def test_the_page_asks_nobody_else():
    for path in PAGE.iterdir():
        text = path.read_text()
        assert "http://" not in text, path
        assert "https://" not in text, path
    assert {path.name for path in PAGE.iterdir()} >= {"index.html", "app.js", "codec.js", "tok.js", "draw.js", "audio.js"}


def test_it_is_put_together_as_files(small_folder, tmp_path):
    package = tmp_path / "onnxruntime-web" / "dist"
    package.mkdir(parents=True)
    for name in RUNTIME_FILES:
        (package / name).write_text(name)
    assert runtime_folder(package.parent) == runtime_folder(package) == package
    arguments = ["serve", "--codec", str(small_folder), "--static", str(tmp_path / "site")]
    assert run([*arguments, "--onnxruntime-web", str(package.parent)]) == 0
    found = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*") if path.is_file()}
    assert found >= {"index.html", "app.js", "model/codec.json", "model/encoder.onnx", "model/decoder.onnx"}
    assert found >= {f"ort/{name}" for name in RUNTIME_FILES}


def test_weights_beside_the_graphs_are_put_there_too(small_folder, tmp_path):
    apart_small = written_apart(small_folder, tmp_path / "apart")
    package = tmp_path / "dist"
    package.mkdir()
    for name in RUNTIME_FILES:
        (package / name).write_text(name)
    write_page(apart_small, tmp_path / "site", package)
    assert {path.name for path in (tmp_path / "site" / "model").iterdir()} == {*FILES, "codec.json"}


def test_a_runtime_that_is_not_there_is_refused(small_folder, tmp_path, monkeypatch):
    with pytest.raises(toneme.CheckpointError, match="does not hold onnxruntime-web"):
        runtime_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert runtime_folder(None) is None
    with pytest.raises(toneme.CheckpointError, match="npm install onnxruntime-web"):
        write_page(small_folder, tmp_path / "site", None)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET + MICROPHONE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def onnxruntime_web() -> Path:
    named = os.environ.get("TONEME_ONNXRUNTIME_WEB")
    folder = runtime_folder(Path(named) if named else ROOT / INSTALLED) if named or (ROOT / INSTALLED).is_dir() else None
    if folder is None:
        pytest.skip("onnxruntime-web is not here: npm install onnxruntime-web, or set TONEME_ONNXRUNTIME_WEB to its folder")
    return folder


@pytest.fixture(scope="module")
def served(shipped_folder, onnxruntime_web):
    """The address of `codec serve`'s application on a free port."""
    from toneme.export.server import make_app

    from .live import serving

    with serving(make_app(shipped_folder, onnxruntime_web=onnxruntime_web)) as address:
        yield f"http://{address}/"


@pytest.fixture(scope="module")
def static(shipped_folder, onnxruntime_web, tmp_path_factory):
    """The address of the page as files below another path, from Python's own web server."""
    yield from as_files(shipped_folder, onnxruntime_web, tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def apart(shipped_folder, onnxruntime_web, tmp_path_factory):
    """The same of a codec whose weights lie beside its graphs."""
    folder = tmp_path_factory.mktemp("apart")
    yield from as_files(written_apart(shipped_folder, folder / "codec"), onnxruntime_web, folder)


def as_files(codec: Path, onnxruntime_web: Path, folder: Path):
    write_page(codec, folder / "below", onnxruntime_web)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/below/"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing about requests."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def opened(browser, address: str):
    """Open the page; return it, what it asked of other hosts, and what its console complained of."""
    page = browser.new_page(viewport={"width": 1100, "height": 1250}, accept_downloads=True)
    others, complaints = [], []
    page.on("request", lambda r: others.append(r.url) if not r.url.startswith((address, "blob:", "data:")) else None)
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.goto(address)
    page.locator("#status", has_text="Ready.").wait_for(timeout=60_000)
    return page, others, complaints


def download(page, selector: str, path: Path) -> bytes:
    with page.expect_download() as waiting:
        page.click(selector)
    waiting.value.save_as(path)
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["served", "static", "apart"])
def test_the_page_in_a_browser(kind, browser, request, shipped_folder, tmp_path):
    page, others, complaints = opened(browser, request.getfixturevalue(kind))
    page.set_input_files("#file", SPEECH)
    page.locator("#status", has_text="8 of 8 codebooks").wait_for(timeout=90_000)
    assert not page.is_visible("#error")
    written = download(page, "#save-tok", tmp_path / "page.tok")
    pcm = soundfile.read(SPEECH, dtype="float32")[0]
    codec = StreamingCodec(shipped_folder)
    codes = codec.encode(pcm)
    np.testing.assert_array_equal(read_tok(tmp_path / "page.tok").codes.numpy(), codes)
    assert (
        run(
            [
                "encode",
                str(SPEECH),
                "-o",
                str(tmp_path / "cli.tok"),
                "--codec",
                str(shipped_folder),
                "--backend",
                "onnx",
                "--packed",
            ]
        )
        == 0
    )
    assert written == (tmp_path / "cli.tok").read_bytes()
    check_sound(page, codec.decode(codes, len(pcm))[0, 0], tmp_path)
    if folder := os.environ.get("TONEME_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/page-{kind}.png", full_page=True)
    page.focus("input[name=rate]:checked")
    for depth in (7, 6):  # the focus must stay where it is
        page.keyboard.press("ArrowUp")
        page.locator("#status", has_text=f"{depth} of 8 codebooks").wait_for(timeout=60_000)
        assert f"{depth / 2:.2f} kbps" in page.inner_text("#decoded-label")
    check_sound(page, codec.decode(codes[:, :6], len(pcm))[0, 0], tmp_path)
    page.set_input_files("#file", tmp_path / "cli.tok")
    page.locator("#status", has_text="8 of 8 codebooks").wait_for(timeout=60_000)
    assert not page.is_visible("#original")
    check_sound(page, codec.decode(codes, len(pcm))[0, 0], tmp_path)
    assert (others, complaints) == ([], [])
    page.close()


def check_sound(page, expected: np.ndarray, folder: Path) -> None:
    download(page, "#save-wav", folder / "page.wav")
    sound, rate = soundfile.read(folder / "page.wav")
    assert rate == 24000
    np.testing.assert_allclose(sound, np.clip(expected, -1, 1), atol=1 / 32768 + 1e-5)


@pytest.mark.slow
def test_what_the_page_cannot_do_it_says(served, browser, tmp_path):
    page, others, _ = opened(browser, served)
    for name, content, words in [
        ("noise.wav", b"no audio at all", "cannot read this file as audio"),
        ("broken.tok", b"\xffTOK\x01\x05abc", "damaged or cut"),
    ]:
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#file", tmp_path / name)
        page.locator("#error", has_text=words).wait_for(timeout=30_000)
    page.click("#record")
    page.locator("#record", has_text="Stop").wait_for(timeout=10_000)
    page.wait_for_timeout(1500)
    page.keyboard.press("Enter")  # the button still has the focus
    page.locator("#status", has_text="8 of 8 codebooks").wait_for(timeout=60_000)
    assert not page.is_visible("#error")
    named = "() => [...document.querySelectorAll('input, button, audio, canvas')].every(e => e.labels?.length || e.ariaLabel "
    assert page.evaluate(named + "|| e.textContent.trim() || document.querySelector(`label[for=${e.id}]`))")
    assert others == []
    page.close()


@pytest.mark.slow
def test_a_page_without_its_runtime_says_so(shipped_folder, browser, tmp_path):
    shutil.copytree(PAGE, tmp_path / "site")
    shutil.copytree(shipped_folder, tmp_path / "site" / "model")
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.locator("#error", has_text="npm install onnxruntime-web").wait_for(timeout=30_000)
        assert page.locator("#status").inner_text() == "The codec could not be loaded."
        server.shutdown()
