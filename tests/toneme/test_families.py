"""The commands with every family, at a small size: what goes through files in pieces equals the library on the whole."""

import pytest
import soundfile
import torch

import toneme
from toneme.codecs.encodec import EncodecCodec, EncodecConfig
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.snac import SnacCodec, SnacConfig
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig

from .conftest import SMALL

SEANET = {"dimension": 8, "filters": 4, "lstm": 1}
SEGMENTED = SEANetConfig(**SEANET, channels=2, causal=False, norm="time_group_norm")
CODECS = {
    "toneme": lambda: TonemeCodec(TonemeConfig(**SMALL), "small"),
    "encodec, causal": lambda: EncodecCodec(EncodecConfig(seanet=SEANetConfig(**SEANET), codebooks=4), "small"),
    "encodec, stereo segments with scales": lambda: EncodecCodec(
        EncodecConfig(sample_rate=48000, seanet=SEGMENTED, codebooks=4, segment=9600, segment_stride=9504), "small"
    ),
    "snac, streams at several rates": lambda: SnacCodec(
        SnacConfig(8000, DacBlocksConfig(8, (2, 4), 32, 32, depthwise=True, noise=True), (4, 2, 1), 32, 4), "small"
    ),
}


@pytest.fixture(params=CODECS)
def folder(request, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = CODECS[request.param]().eval()
        for name, tensor in codec.state_dict().items():
            if "codebook" in name:
                tensor.normal_()
        codec.save(tmp_path / "small")
    return tmp_path / "small"


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(44100, 2, 2.345), (24000, 1, 0.001), (48000, 1, 1.0)])
def test_files_in_pieces_equal_the_library(codec, wav, folder, tmp_path, monkeypatch, rate, channels, seconds):
    monkeypatch.setattr("toneme.cli.coding.BLOCK_SECONDS", 0.4)
    path, model = wav("a.wav", seconds, rate, channels), toneme.load(folder)
    assert codec("encode", path, "-c", folder, "-n", 3).code == 0
    made, whole = toneme.read_tokens(tmp_path / "a.tok"), model.encode(*toneme.read_audio(path), codebooks=3)
    assert all(torch.equal(codes, expected) for codes, expected in zip(made.streams, whole.streams, strict=True))
    assert made.n_samples.tolist() == whole.n_samples.tolist()
    assert codec("decode", tmp_path / "a.tok", "-c", folder, "-o", tmp_path / "b.wav", "--bits", "float").code == 0
    audio, expected = toneme.read_audio(tmp_path / "b.wav")[0], model.decode(made)[0]
    assert audio.shape == expected.shape
    assert (audio - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))


def test_streams_go_there_and_back(codec, wav, folder, tmp_path):
    path = wav("a.wav", 1.1, 48000)
    stream = codec("stream", "-c", folder, stdin=path.read_bytes())
    assert stream.code == 0
    (tmp_path / "a.tok").write_bytes(stream.out)
    back = codec("stream", "-c", folder, "--decode", "--wav", stdin=stream.out)
    assert back.code == 0
    (tmp_path / "b.wav").write_bytes(back.out)
    spec = toneme.load(folder).spec
    assert soundfile.read(tmp_path / "b.wav", always_2d=True)[0].shape == (round(1.1 * spec.sample_rate), spec.channels)
    assert codec("info", tmp_path / "a.tok", "--verify").code == 0
