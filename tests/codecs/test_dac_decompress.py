"""`.dac` files of longer audio, of other rates and of several channels sound as descript-audio-codec decompresses them."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from toneme.codecs import dac
from toneme.codecs.dac import DacCodec, DacConfig, convert_dac
from toneme.codecs.dac_decompress import decompress
from toneme.codecs.dacfile import read_dac
from toneme.codecs.errors import CheckpointError, ShapeError, TokenFileError
from toneme.codecs.layers.dac_blocks import DacBlocksConfig, Decoder
from toneme.codecs.layers.dac_unpadded import unpadded, unpadded_length
from toneme.codecs.loudness import loudness
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig

GOLDEN = Path(__file__).parents[1] / "goldens" / "dacfile" / "small.npz"  # of descript-audio-codec 1.0.0, weights beside it
CONFIG = DacConfig(16000, DacBlocksConfig(2, (2, 4, 5, 8), 32, 32, keeps_length=False), 2, 1024, 2)
SMALL = {"encoder_dim": 8, "encoder_blocks": (1, 1), "decoder_dim": 8, "decoder_blocks": (1, 1), "latent_dim": 8}
FIELDS = ("original_length", "sample_rate", "chunk_length", "channels", "padding")


@pytest.fixture
def codec(monkeypatch) -> DacCodec:
    monkeypatch.setitem(dac.CONFIGS, "dac_small", CONFIG)
    with np.load(GOLDEN) as golden:
        names = [name for name in golden if name.startswith("weights/")]
        weights = {name.removeprefix("weights/"): torch.from_numpy(golden[name]).float() for name in names}
    return convert_dac(weights, "dac_small")


def part(case: str, key: str) -> np.ndarray:
    with np.load(GOLDEN) as golden:
        return golden[f"{case}/{key}"]


def dac_file(case: str, items: int = 1, **changed) -> bytes:
    about = {field: part(case, field).item() for field in FIELDS} | {"input_db": part(case, "input_db"), "dac_version": "1.0.0"}
    file = io.BytesIO()
    content = {"codes": part(case, "codes").repeat(items, 0), "metadata": about | {"channels": items} | changed}
    np.save(file, content, allow_pickle=True)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


@pytest.mark.parametrize("case", ["chunks", "whole"])
def test_sounds_as_the_official_program_has_it(codec, case):
    audio = decompress(codec, read_dac(dac_file(case), codec))
    wanted = torch.from_numpy(part(case, "audio")).float()
    assert audio.shape == (1, 1, int(part(case, "original_length")))
    # 0.1 dB: theirs takes other filters for the loudness, by a formula that meets the standard's at 48 kHz only
    assert abs(20 * torch.log10(audio.std() / wanted.std())) < 0.1
    same_level = audio[..., : wanted.shape[-1]] * (wanted.std() / audio[..., : wanted.shape[-1]].std())
    torch.testing.assert_close(same_level, wanted, atol=3e-4, rtol=0)  # they are kept in 16 bits


def test_length_is_that_of_the_audio_at_the_codecs_rate(codec):
    tokens = read_dac(dac_file("resampled"), codec)
    assert (int(part("resampled", "sample_rate")), int(part("resampled", "original_length"))) == (22050, 30001)
    assert tokens.n_samples.tolist() == [30001 * 16000 // 22050]
    assert decompress(codec, tokens).shape[-1] == 30001 * 16000 // 22050
    assert read_dac(dac_file("resampled"), "dac_small").n_samples.tolist() == tokens.n_samples.tolist()


@pytest.mark.parametrize(
    ("name", "rate", "seconds"),
    [
        ("dac_44khz", 48000, 3),
        ("dac_44khz", 16000, 3),
        ("dac_24khz", 44100, 30),
        ("dac_16khz", 48000, 3),
        ("dac_16khz", 16000, 3),
    ],
)
@pytest.mark.parametrize("chunk", [0, 60])
def test_the_model_is_told_from_its_frames(name, rate, seconds, chunk):
    config, length = dac.CONFIGS[name], rate * seconds
    samples = length * config.sample_rate // rate
    frames = -(-samples // unpadded_length(config.blocks, chunk)) * chunk if chunk else -(-samples // config.blocks.hop)
    file, about = io.BytesIO(), {field: part("chunks", field).item() for field in FIELDS}
    about |= {"original_length": length, "sample_rate": rate, "chunk_length": chunk or frames, "padding": not chunk}
    content = {"codes": np.zeros((1, 9, frames), np.uint16), "metadata": about | {"input_db": part("chunks", "input_db")}}
    np.save(file, content, allow_pickle=True)  # pyright: ignore[reportArgumentType]
    tokens = read_dac(file.getvalue())
    assert (tokens.codec, tokens.sample_rate, tokens.n_samples.tolist()) == (name, config.sample_rate, [samples])


@pytest.mark.parametrize("strides", [(2, 4, 5, 8), (3, 2)])
def test_the_length_without_padding_is_that_of_the_layers(strides):
    config = DacBlocksConfig(2, strides, 8, 32, keeps_length=False)
    decoder, least = Decoder(config), next(n for n in range(1000) if unpadded_length(config, n) > 0)
    for frames in (least, least + 5):
        assert unpadded(decoder, torch.zeros(1, 8, frames)).shape[-1] == unpadded_length(config, frames)


def test_frames_of_no_published_model_ask_for_the_codec(codec):
    with pytest.raises(
        TokenFileError, match="no published model makes 2 x 30 codes of 123456 samples at the sample rate 16000"
    ):
        read_dac(dac_file("whole", original_length=123456))


def test_channels_keep_their_balance_and_the_level_of_the_whole(codec):
    tokens = read_dac(dac_file("chunks", items=2), codec)
    quiet = replace(tokens, streams=(torch.cat([tokens.codes[:1], tokens.codes[:1].flip(-1)]),))
    audio, plain = decompress(codec, quiet), codec.decode(quiet)
    assert audio.shape == (1, 2, 20000)
    torch.testing.assert_close(audio[0, 0].std() / audio[0, 1].std(), plain[0].std() / plain[1].std())
    assert loudness(audio[0].numpy(), 16000) == pytest.approx(float(part("chunks", "input_db")[0]), abs=1e-3)


def test_chunks_are_never_decoded_as_a_row_of_frames(codec, tmp_path):
    tokens = read_dac(dac_file("chunks"), codec)
    with pytest.raises(ShapeError, match="chunks of 34 frames that overlap"):
        codec.stream_decoder().push(tokens)
    tokens.save(tmp_path / "chunks.tok")
    with pytest.raises(ShapeError, match=r"some of them: decode the whole file"):
        codec.decode(tokens.frames(0, 50))
    assert codec.decode(tokens).requires_grad_().shape == (1, 1, 20000)
    row, decoder = codec.encode(codec.decode(tokens)), codec.stream_decoder()
    assert decoder.push(row).shape[-1] + decoder.flush().shape[-1] >= 20000


def test_lengths_that_lie_take_no_memory(codec):
    lies = read_dac(dac_file("chunks", original_length=(1 << 47)), codec)
    with pytest.raises(ShapeError, match="samples"):
        codec.decode(lies)
    for given in (codec, "dac_small"):
        with pytest.raises(TokenFileError, match="original_length at the sample rate"):
            read_dac(dac_file("chunks", original_length=(1 << 48) - 1, sample_rate=1), given)


def test_damage_is_told(codec):
    with pytest.raises(TokenFileError, match="multiple of that"):
        read_dac(dac_file("chunks", chunk_length=35), codec)
    with pytest.raises(CheckpointError, match="codes of DAC, and toneme-24k is another codec: name the one"):
        decompress(TonemeCodec(TonemeConfig(**SMALL)), read_dac(dac_file("chunks"), codec))
    with pytest.raises(ShapeError, match=r"codec\.decode gives their audio"):
        decompress(codec, codec.encode(torch.zeros(1, 1, 400)))
    with pytest.raises(ShapeError, match="an item per channel"):
        decompress(codec, read_dac(dac_file("chunks", items=2), codec)[0])
