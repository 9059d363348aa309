"""`codec export`, and `--backend` over what it makes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import toneme
from toneme.codecs.coder import TorchCoder
from toneme.codecs.registry import load
from toneme.export.codec import ExportedCodec

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "einops", "safetensors", "huggingface_hub", "onnx", "onnxscript", "transformers"}:
            raise ModuleNotFoundError(f"{name} is absent here", name=name)

sys.meta_path.insert(0, Refuse())
from toneme.cli import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """The tiny codec's folder of graphs, made by the command."""
    from toneme.cli import run

    folder = tmp_path_factory.mktemp("export") / "tiny-onnx"
    assert run(["export", str(tiny), "-o", str(folder)]) == 0
    return folder


def test_the_folder_encodes_and_decodes(codec, exported, tiny, wav, tmp_path):
    path = wav(seconds=1.3)
    assert codec("encode", path, "-c", exported, "--backend", "onnx", "-o", tmp_path / "onnx.tok").code == 0
    assert codec("encode", path, "-c", tiny, "-o", tmp_path / "torch.tok").code == 0
    ours, theirs = (toneme.read_tokens(tmp_path / f"{name}.tok") for name in ("onnx", "torch"))
    assert (ours.codec, ours.weights_hash, int(ours.n_samples[0])) == ("tiny", theirs.weights_hash, 31200)
    assert (ours.codes == theirs.codes).float().mean() > 0.99
    done = codec(
        "decode", tmp_path / "torch.tok", "-c", exported, "--backend", "onnx", "-o", tmp_path / "a.wav", "--bits", "float"
    )
    assert done.code == 0, done.err
    sound, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 24000
    np.testing.assert_allclose(sound, load(tiny).decode(theirs)[0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("backend", ["onnx", "auto"])
def test_graphs_have_no_beam_and_say_so(codec, exported, wav, tmp_path, backend):
    ran = codec("encode", wav(), "-c", exported, "--backend", backend, "--beam", 4, "-o", tmp_path / "x.tok")
    assert ran.code == 1
    assert "tiny is exported, and its graphs take the nearest codes: give beam to the codec itself" in ran.sentence
    assert not (tmp_path / "x.tok").exists()


def test_the_folder_codes_live_audio(codec, exported, tiny, wav, tmp_path):
    data = wav(seconds=1.3).read_bytes()
    live = codec("stream", "-c", exported, "--backend", "onnx", stdin=data)
    assert (live.code, live.err) == (0, "")
    (tmp_path / "live.tok").write_bytes(live.out)
    ours = toneme.read_tokens(tmp_path / "live.tok")
    (tmp_path / "torch.tok").write_bytes(codec("stream", "-c", tiny, stdin=data).out)
    theirs = toneme.read_tokens(tmp_path / "torch.tok")
    assert (ours.codes == theirs.codes).float().mean() > 0.99  # near ties apart
    back = codec("stream", "-c", exported, "--backend", "onnx", "--decode", "--format", "f32le", stdin=live.out)
    expected = load(tiny).decode(ours)[0, 0].numpy()
    np.testing.assert_allclose(np.frombuffer(back.out, "<f4"), expected, atol=1e-5)


def by_torch(folder, threads: int) -> TorchCoder:
    """The same graphs behind the interface of codecs in torch."""
    return TorchCoder(ExportedCodec(folder, threads))


def run_without_torch(*args, stdin: bytes = b"") -> subprocess.CompletedProcess:
    command = [sys.executable, "-P", "-c", WITHOUT_TORCH, *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def without_torch(*args, stdin: bytes = b"") -> bytes:
    done = run_without_torch(*args, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (44100, 2)])
def test_files_are_the_same_where_there_is_no_torch(codec, exported, wav, tmp_path, monkeypatch, rate, channels):
    """At the codec's own rate, and resampled and mixed."""
    path = wav(seconds=1.3, rate=rate, channels=channels)
    without_torch("encode", path, "-c", exported, "-o", tmp_path / "ours.tok")
    without_torch("decode", tmp_path / "ours.tok", "-c", exported, "-o", tmp_path / "ours.wav")
    monkeypatch.setattr("toneme.export.coder.ExportedCoder", by_torch)
    assert codec("encode", path, "-c", exported, "--backend", "onnx", "-o", tmp_path / "torch.tok").code == 0
    assert codec("decode", tmp_path / "ours.tok", "-c", exported, "--backend", "onnx", "-o", tmp_path / "torch.wav").code == 0
    for name in ("tok", "wav"):
        assert (tmp_path / f"ours.{name}").read_bytes() == (tmp_path / f"torch.{name}").read_bytes()


def test_streams_are_the_same_where_there_is_no_torch(codec, exported, wav, monkeypatch):
    data = wav(seconds=1.3, rate=16000).read_bytes()
    tokens = without_torch("stream", "-c", exported, stdin=data)
    sound = without_torch("stream", "-c", exported, "--decode", "--wav", stdin=tokens)
    monkeypatch.setattr("toneme.export.coder.ExportedCoder", by_torch)
    assert tokens == codec("stream", "-c", exported, "--backend", "onnx", stdin=data).out
    assert sound == codec("stream", "-c", exported, "--backend", "onnx", "--decode", "--wav", stdin=tokens).out


def test_where_there_is_no_torch_the_rest_says_so(exported, tiny, wav, tok, tmp_path):
    for args in (["encode", wav(), "-c", tiny, "-o", tmp_path / "x.tok"], ["list"]):
        done = run_without_torch(*args)
        assert done.returncode == 1
        assert done.stderr.startswith(b"codec: this needs PyTorch: pip install torch, or name a folder that `codec export`")
    assert not (tmp_path / "x.tok").exists()
    told = run_without_torch("decode", tok, "-c", exported, "--seed", 1, "-o", tmp_path / "x.wav")
    assert told.stderr == b"codec: tiny cannot be told seed when it decodes: its codes alone say how it sounds\n"
    assert json.loads(without_torch("info", tok, "--json"))["codec"] == "tiny"
    about = json.loads(without_torch("info", exported, "--json"))
    assert (about["kind"], about["name"], about["spec"]["sample_rate"]) == ("exported codec", "tiny", 24000)
    assert about["weights_hash"] == load(tiny).weights_hash
    assert json.loads(without_torch("roundtrip", wav(), "-c", exported, "--json"))["codec"] == "tiny"


def test_a_codec_is_exported_once_and_kept(codec, tiny, exported, wav, tmp_path, monkeypatch):
    from toneme.export import cache, folder
    from toneme.export.manifest import FORMAT

    calls = []
    monkeypatch.setattr(folder, "export_codec", lambda model, place: calls.append(place) or _copy(exported, place))
    for name in ("one.tok", "two.tok"):
        assert codec("encode", wav(), "-c", tiny, "--backend", "onnx", "-o", tmp_path / name).code == 0
    assert calls == [cache.cache() / f"tiny-{load(tiny).weights_hash}-{FORMAT}.{cache.GRAPHS}"]


def test_what_is_kept_is_used_unasked(codec, tiny, wav, tmp_path, monkeypatch):
    from toneme.export import cache
    from toneme.export.codec import ExportedDecoder, ExportedEncoder

    used, threads = [], 1
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    for kind in (ExportedEncoder, ExportedDecoder):
        monkeypatch.setattr(kind, "_reset", lambda self, reset=kind._reset: used.append(type(self)) or reset(self))
    assert codec("encode", wav(), "-c", tiny, "-o", tmp_path / "before.tok").code == 0
    assert not used
    kept = codec("export", tiny)
    assert kept.code == 0, kept.err
    assert str(cache.cache()) in kept.out.decode()
    assert codec("encode", wav(), "-c", tiny, "-o", tmp_path / "after.tok").code == 0
    assert codec("decode", tmp_path / "after.tok", "-c", tiny, "-o", tmp_path / "after.wav").code == 0
    assert codec("stream", "-c", tiny, stdin=wav().read_bytes()).code == 0
    assert set(used) == {ExportedEncoder, ExportedDecoder}
    before, after = (toneme.read_tokens(tmp_path / f"{name}.tok") for name in ("before", "after"))
    assert (before.codes == after.codes).float().mean() > 0.99  # near ties apart
    used.clear()
    assert codec("encode", wav(), "-c", tiny, "--backend", "torch", "-o", tmp_path / "torch.tok").code == 0
    monkeypatch.setattr(cache, "ALONE", ("toneme",))
    threads = 2  # with which PyTorch is faster, say
    assert codec("encode", wav(), "-c", tiny, "-o", tmp_path / "torch.tok", "-f").code == 0
    assert not used
    assert codec("stream", "-c", tiny, stdin=wav().read_bytes()).code == 0
    assert set(used) == {ExportedEncoder}
    refused = codec("export", tiny)
    assert refused.code == 1
    assert "replace it with --force" in refused.sentence


@pytest.mark.parametrize("option", [["--int8"], ["--int8-decoder"], ["--half"], ["--codebooks", "2"]])
def test_only_the_whole_codec_is_kept(codec, tiny, option):
    refused = codec("export", tiny, *option)
    assert refused.code == 2
    assert "-o" in refused.sentence


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_codecs_own_folder_is_no_place_for_its_graphs(codec, tiny, force):
    before = sorted(tiny.iterdir())
    refused = codec("export", tiny, "-o", tiny, *force)
    assert refused.code == 1
    assert "holds the weights of a codec, which an exported one would hide" in refused.sentence
    assert sorted(tiny.iterdir()) == before


def _copy(source, target):
    import shutil

    shutil.copytree(source, target)


def test_an_exported_codec_is_not_replaced_unasked(codec, exported, tiny):
    refused = codec("export", tiny, "-o", exported)
    assert refused.code == 1
    assert "replace it with --force" in refused.sentence
    content = json.loads((exported / "codec.json").read_text())
    assert content["codec"] == "tiny"


def test_what_is_exported_is_not_exported_again(codec, exported, tmp_path):
    refused = codec("export", exported, "-o", tmp_path / "again")
    assert refused.code == 1
    assert f"{exported} is an exported codec, whose graphs alone are there: name the codec it was made of" in refused.sentence
    assert not any(tmp_path.iterdir())


def test_a_file_in_the_way_is_refused(codec, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    refused = codec("export", tiny, "-o", tmp_path / "file")
    assert refused.code == 1
    assert "is a file" in refused.sentence


def test_an_exported_codec_is_not_said_to_run_elsewhere(codec, exported, wav, tmp_path):
    refused = codec("encode", wav(), "-c", exported, "--device", "cuda", "-o", tmp_path / "x.tok")
    assert refused.code == 1
    assert "runs on the CPU: leave out --device cuda" in refused.sentence


def test_wrong_backends_are_usage_errors(codec, wav):
    assert codec("encode", wav(), "--backend", "tensorrt").code == 2
    assert codec("stream", "--backend", "tensorrt").code == 2
    refused = codec("encode", wav(), "--backend", "onnx", "--device", "cuda")
    assert refused.code == 2
    assert "runs on the CPU" in refused.sentence
