"""The runtime: no torch, states that can be kept, threads, and refusals."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import toneme
from toneme.export.golden import made_audio
from toneme.export.runtime import StreamingCodec

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "onnxscript", "soundfile", "soxr", "safetensors", "transformers"}:
            raise ImportError(f"{name} is absent here")

sys.meta_path.insert(0, Refuse())
import numpy as np
from toneme.export.runtime import StreamingCodec

codec, golden = StreamingCodec(sys.argv[1]), np.load(sys.argv[1] + "/golden.npz")
encoder, decoder = codec.encoder(), codec.decoder()
codes = [encoder.push(piece) for piece in np.array_split(golden["audio"], 9, axis=-1)] + [encoder.flush()]
sound = [decoder.push(piece) for piece in codes] + [decoder.flush()]
n = golden["audio"].shape[-1]
assert (np.concatenate(codes, -1) == golden["codes.0"]).mean() > 0.99
assert np.abs(np.concatenate(sound, -1)[..., :n] - golden["decoded"]).max() < 1e-2
print(sorted(name for name in sys.modules if name in ("torch", "typer", "rich")))
"""


@pytest.fixture
def codec(small_folder) -> StreamingCodec:
    return StreamingCodec(small_folder)


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return made_audio(24000, 1, 0.9)


def test_runs_where_torch_is_absent(small_folder):
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_TORCH, str(small_folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_copies_and_other_processes_load_their_own(codec, audio):
    codes = codec.encode(audio)
    for other in (copy.deepcopy(codec), pickle.loads(pickle.dumps(codec))):
        assert other.session("encoder.onnx") is not codec.session("encoder.onnx")
        assert np.array_equal(other.encode(audio), codes)


def test_any_number_of_samples_at_once(codec, audio):
    whole = codec.encode(audio)
    for size in (1, 7, 480, 1000):
        encoder, decoder = codec.encoder(), codec.decoder()
        pieces = [encoder.push(audio[..., i : i + size]) for i in range(0, 3000, size)]
        pieces += [encoder.push(audio[..., -(-3000 // size) * size :]), encoder.flush()]
        np.testing.assert_array_equal(np.concatenate(pieces, axis=-1), whole)
        sound = np.concatenate([decoder.push(piece) for piece in pieces] + [decoder.flush()], axis=-1)
        np.testing.assert_allclose(sound, codec.decode(whole), atol=1e-5, rtol=0)
        assert sound.shape[-1] == whole.shape[-1] * 480


def test_integers_and_missing_axes_are_taken(codec, audio):
    integers = np.round(audio * 32767).astype(np.int16)
    floats = integers.astype(np.float32) / 32768
    np.testing.assert_array_equal(codec.encode(integers), codec.encode(floats))
    np.testing.assert_array_equal(codec.encode(floats[0, 0]), codec.encode(floats))
    np.testing.assert_array_equal(codec.decode(codec.encode(floats)[0]), codec.decode(codec.encode(floats)))


def test_nothing_gives_nothing(codec):
    assert codec.encode(np.zeros((1, 1, 0), np.float32)).shape == (1, 4, 0)
    assert codec.decode(np.zeros((1, 4, 0), np.int64)).shape == (1, 1, 0)
    encoder = codec.encoder()
    assert encoder.push(np.zeros(0, np.float32)).shape == (1, 4, 0)
    assert encoder.flush().shape == (1, 4, 0)


def test_audio_ends_where_it_is_told_to(codec, audio):
    codes = codec.encode(audio)
    assert codec.decode(codes, 1000).shape[-1] == 1000
    assert codec.decode(codes, codes.shape[-1] * 480 + 13).shape[-1] == codes.shape[-1] * 480 + 13
    decoder = codec.decoder()
    given = decoder.push(codes, 5000)
    assert given.shape[-1] + decoder.flush(5000).shape[-1] == 5000


def test_reset_begins_anew(codec, audio):
    encoder, decoder = codec.encoder(), codec.decoder()
    encoder.push(audio[..., :5555])
    encoder.flush()
    encoder.reset()
    codes = np.concatenate([encoder.push(audio), encoder.flush()], axis=-1)
    np.testing.assert_array_equal(codes, codec.encode(audio))
    decoder.push(codes)
    decoder.reset()
    np.testing.assert_array_equal(np.concatenate([decoder.push(codes), decoder.flush()], -1), codec.decode(codes))


def test_a_saved_stream_goes_on_elsewhere(codec, audio, tmp_path):
    encoder, decoder = codec.encoder(), codec.decoder()
    codes, sound = [encoder.push(audio[..., :7777])], []
    sound.append(decoder.push(codes[0]))
    np.savez(tmp_path / "encoder.npz", **encoder.save())
    np.savez(tmp_path / "decoder.npz", **decoder.save())
    encoder.push(audio[..., :100])  # what is saved stays as it was
    encoder, decoder = codec.encoder(), codec.decoder()
    encoder.restore(np.load(tmp_path / "encoder.npz"))
    decoder.restore(np.load(tmp_path / "decoder.npz"))
    codes += [encoder.push(audio[..., 7777:]), encoder.flush()]
    sound += [decoder.push(codes[1]), decoder.push(codes[2]), decoder.flush()]
    np.testing.assert_array_equal(np.concatenate(codes, -1), codec.encode(audio))
    np.testing.assert_allclose(np.concatenate(sound, -1), codec.decode(codec.encode(audio)), atol=1e-5, rtol=0)


def test_states_of_another_stream_are_refused(codec):
    with pytest.raises(toneme.ShapeError, match="restore what save gave"):
        codec.encoder().restore(codec.decoder().save())
    with pytest.raises(toneme.ShapeError, match="restore what save gave"):
        codec.encoder(batch=2).restore(codec.encoder().save())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("waiting.audio", np.zeros((2, 1, 5), np.float32)),  # of two streams: all that tells batches apart in chunks
        ("waiting.audio", np.zeros((1, 1, 5), np.complex64)),
        ("count.samples", np.zeros(2, np.int64)),
        ("state.audio", np.zeros((1, 1), np.float32)),
    ],
)
def test_what_a_stream_could_not_go_on_with_is_refused(codec, name, value):
    saved = codec.encoder().save()
    assert name in saved
    with pytest.raises(toneme.ShapeError, match="restore what save gave"):
        codec.encoder().restore({**saved, name: value})


def test_states_come_back_in_their_own_types(codec, audio):
    encoder, other = codec.encoder(), codec.encoder()
    encoder.push(audio[..., :1000])
    other.restore({name: value.astype(float) if value.dtype == np.float32 else value for name, value in encoder.save().items()})
    np.testing.assert_array_equal(other.push(audio[..., 1000:]), encoder.push(audio[..., 1000:]))


def test_streams_in_threads_do_not_disturb_each_other(codec):
    items = [made_audio(24000, 1, 0.4 + 0.1 * n) for n in range(6)]
    expected = [codec.encode(item) for item in items]

    def stream(item: np.ndarray) -> np.ndarray:
        encoder = codec.encoder()
        return np.concatenate(
            [*(encoder.push(item[..., i : i + 700]) for i in range(0, item.shape[-1], 700)), encoder.flush()], -1
        )

    with ThreadPoolExecutor(6) as pool:
        for codes, wanted in zip(pool.map(stream, items), expected, strict=True):
            np.testing.assert_array_equal(codes, wanted)


def test_one_stream_may_be_shared_by_threads(codec, audio):
    encoder, decoder = codec.encoder(), codec.decoder()
    pieces = np.split(np.zeros((1, 1, 48000), np.float32), 100, axis=-1)
    with ThreadPoolExecutor(8) as pool:
        frames = sum(codes.shape[-1] for codes in pool.map(encoder.push, pieces)) + encoder.flush().shape[-1]
        assert frames == 100
        silence = codec.encode(np.zeros((1, 1, 48000), np.float32))
        samples = sum(sound.shape[-1] for sound in pool.map(decoder.push, np.split(silence, 50, axis=-1)))
        assert samples + decoder.flush().shape[-1] == 48000


@pytest.mark.parametrize(
    ("pcm", "kind", "words"),
    [
        (np.zeros((1, 2, 100), np.float32), toneme.ShapeError, r"float or int16 \[1, 1, samples\]; got float32 \[1, 2, 100\]"),
        (np.zeros(100, np.int32), toneme.ShapeError, "got int32"),
        (np.array([0.0, np.nan], np.float32), toneme.AudioError, "NaN or infinite"),
        (np.array([0.0, 1e300]), toneme.AudioError, "NaN or infinite"),  # in 32 bits
    ],
)
def test_wrong_audio_is_refused(codec, pcm, kind, words):
    encoder = codec.encoder()
    with pytest.raises(kind, match=words):
        encoder.push(pcm)


def test_wrong_codes_are_refused(codec):
    decoder = codec.decoder()
    with pytest.raises(toneme.ShapeError, match="from 0 to 63; got -1 to 0"):
        decoder.push(np.array([[[0], [-1]]]))
    with pytest.raises(toneme.ShapeError, match="from 0 to 63; got 0 to 64"):
        decoder.push(np.array([[[0], [64]]]))
    with pytest.raises(toneme.ShapeError, match="at most 4 codebooks"):
        decoder.push(np.zeros((1, 5, 1), np.int64))
    with pytest.raises(toneme.ShapeError, match="of one codebook at least; got none"):
        decoder.push(np.zeros((1, 0, 5), np.int64))
    with pytest.raises(toneme.ShapeError, match="1 streams of codes; got 2"):
        decoder.push((np.zeros((1, 1, 1), np.int64),) * 2)
    decoder.push(np.zeros((1, 2, 1), np.int64))
    with pytest.raises(toneme.ShapeError, match="must stay the same"):
        decoder.push(np.zeros((1, 3, 1), np.int64))


def test_an_end_before_what_was_given_out_is_refused(codec, audio):
    codes, decoder = codec.encode(audio), codec.decoder()
    given = decoder.push(codes).shape[-1]
    with pytest.raises(
        toneme.ShapeError, match=f"{given} samples were given out before the flush at 9: pass n_samples to push"
    ):
        decoder.flush(9)
    assert given + decoder.flush().shape[-1] == codec.decode(codes).shape[-1]


def test_an_end_is_known_from_push_on(codec, audio):
    codes, decoder = codec.encode(audio), codec.decoder()
    pieces = [decoder.push(codes[..., :1], n_samples=900), decoder.push(codes[..., 1:]), decoder.flush()]
    assert np.array_equal(np.concatenate(pieces, axis=-1), codec.decode(codes)[..., :900])


def test_lists_of_codes_are_taken(codec, audio):
    codes = codec.encode(audio)
    assert np.array_equal(codec.decode([codes]), codec.decode(codes))
    with pytest.raises(toneme.ShapeError, match="codes must be integers"):
        codec.decode([[0.5, 1.5]])


def test_a_flushed_stream_takes_nothing(codec, audio):
    encoder, decoder = codec.encoder(), codec.decoder()
    encoder.flush(), decoder.flush()
    for call in (lambda: encoder.push(audio), encoder.flush, lambda: decoder.push(codec.encode(audio)), decoder.flush):
        with pytest.raises(toneme.ShapeError, match=r"call reset\(\)"):
            call()


def test_a_graph_of_other_weights_is_refused(codec, small_folder, tmp_path):
    replace(codec.manifest, weights_hash="another").write(tmp_path)
    shutil.copy(small_folder / "encoder.onnx", tmp_path)
    with pytest.raises(toneme.CheckpointError, match=r"other weights than codec\.json"):
        StreamingCodec(tmp_path).encoder()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name themselves")
def test_a_name_in_no_utf8_is_told_from_a_bad_graph(small_folder, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(small_folder, folder)
    with pytest.raises(toneme.CheckpointError, match=r"caf\\xe9/encoder.onnx cannot be loaded: .* rename it"):
        StreamingCodec(folder).encoder()


def test_what_is_not_there_is_refused(codec, tmp_path):
    with pytest.raises(toneme.CheckpointError, match=r"holds no codec\.json"):
        StreamingCodec(tmp_path)
    codec.manifest.write(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(toneme.CheckpointError, match="cannot be loaded"):
        StreamingCodec(tmp_path).encoder()
    with pytest.raises(toneme.CheckpointError, match="is missing"):
        StreamingCodec(tmp_path).decoder()
    with pytest.raises(toneme.ShapeError, match="from 1 to 4; got 5"):
        codec.encoder(codebooks=5)
    with pytest.raises(toneme.ShapeError, match="at least one item"):
        codec.encoder(batch=0)
