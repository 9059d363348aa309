"""The shipped codec exported: codes and audio are PyTorch's, wherever the stream is cut."""

import numpy as np
import pytest
import torch

import toneme
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.export.runtime import StreamingCodec
from toneme.export.toneme24k import TonemeDecoder, TonemeEncoder

from .agreement import AUDIO, check_codes, check_share, decode_in_pieces, encode_in_pieces, partitions
from .conftest import SMALL

HOP = 480
CUTS = {"1": [1], "3": [3], "7": [7], "all": [10_000], "random": [1, 2, 5, 11]}  # frames


@pytest.fixture(scope="module")
def shipped():
    return toneme.load("toneme-24k")


@pytest.fixture(scope="module")
def exported(shipped_folder) -> StreamingCodec:
    return StreamingCodec(shipped_folder)


@pytest.mark.parametrize("taught", [0, 5])
@pytest.mark.parametrize("hops", [(480, 240, 960, 480), (480, 240, 960, 0), (240, 80, 240, 480)])
@torch.no_grad()
def test_networks_equal_the_codecs_in_any_shape(hops, taught):
    torch.manual_seed(0)
    hop, stft_hop, window, lookahead = hops
    config = TonemeConfig(
        **{**SMALL, "hop": hop, "stft_hop": stft_hop, "window": window, "lookahead": lookahead, "taught_dim": taught}
    )
    codec = TonemeCodec(config).eval()
    audio = 0.1 * torch.randn(2, 1, 9 * hop)
    encoder = TonemeEncoder(codec, 4)
    encoder.search = torch.nn.Identity()
    pieces, state = [], encoder.states(2)
    for piece in audio.split([hop, 3 * hop, 5 * hop], dim=2):
        (latents,), state = encoder.run((piece,), state)
        pieces.append(latents)
    expected, _ = codec.encoder.step(audio[:, 0], codec.encoder.initial_state(2))
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, atol=1e-4, rtol=1e-4)
    codes = torch.randint(0, 64, (2, 4, 9))
    decoder, sound = TonemeDecoder(codec, 4), []
    state = decoder.states(2)
    for piece in codes.split([1, 3, 5], dim=2):
        (waveform,), state = decoder.run((piece,), state)
        sound.append(waveform)
    latents = codec.quantizer.decode(codes).transpose(1, 2)
    expected, _ = codec.decoder.step(latents, codec.decoder.initial_state(2))
    torch.testing.assert_close(torch.cat(sound, dim=2)[:, 0], expected, atol=AUDIO, rtol=0)


def check_nearest(codes: np.ndarray, shipped: TonemeCodec, audio: torch.Tensor) -> None:
    """Codes of audio [batch, 1, samples] are what the shipped codec's latents ask for, save ties."""
    with torch.inference_mode():
        latents = shipped.encoder(audio[:, 0]).transpose(1, 2)
    check_codes(codes, latents, shipped.quantizer.codebooks)


@pytest.mark.parametrize("cut", CUTS)
def test_codes_are_pytorchs_save_ties(shipped, exported, speech, cut):
    audio = speech[None, :, : 2 * 24000 + 77]
    spans = partitions(audio.shape[-1], [HOP * n for n in CUTS[cut]], seed=1 if cut == "random" else None)
    codes = encode_in_pieces(exported.encoder(), audio.numpy(), spans)
    check_share(codes, shipped.encode(audio).codes.numpy(), least=0.997)  # two ties in 808
    check_nearest(codes, shipped, audio)


@pytest.mark.parametrize("cut", CUTS)
def test_audio_is_pytorchs(shipped, exported, speech, cut):
    tokens = shipped.encode(speech[:, : 2 * 24000 + 77])
    n_samples = int(tokens.n_samples[0])
    spans = partitions(tokens.codes.shape[-1], CUTS[cut], seed=2 if cut == "random" else None)
    audio = decode_in_pieces(exported.decoder(), tokens.codes.numpy(), spans, n_samples)
    np.testing.assert_allclose(audio, shipped.decode(tokens).numpy(), atol=AUDIO, rtol=0)


@pytest.mark.parametrize("samples", [1, 479, 480, 481, 5000, 24000 * 6])
def test_other_lengths_than_the_examples(shipped, exported, speech, samples):
    audio = speech[:, :samples]
    tokens = shipped.encode(audio)
    codes = exported.encode(audio.numpy())
    assert codes.shape == tokens.codes.shape
    check_nearest(codes, shipped, audio[None])
    decoded = exported.decode(tokens.codes.numpy(), samples)
    np.testing.assert_allclose(decoded, shipped.decode(tokens).numpy(), atol=AUDIO, rtol=0)


@pytest.mark.parametrize("codebooks", [1, 3])
def test_fewer_codebooks_are_a_prefix_and_sound_as_pytorchs(shipped, exported, speech, codebooks):
    audio = speech[:, :24000]
    codes = exported.encode(audio.numpy(), codebooks)
    np.testing.assert_array_equal(codes, exported.encode(audio.numpy())[:, :codebooks])
    decoded = exported.decode(codes, 24000)
    expected = shipped.decode(shipped.tokens_from_codes(torch.from_numpy(codes), 24000))
    np.testing.assert_allclose(decoded, expected.numpy(), atol=AUDIO, rtol=0)


def test_streams_run_side_by_side(exported, speech):
    audio = np.stack([speech.numpy()[:, start : start + 20000] for start in (0, 30000, 60000)])
    together = exported.encode(audio)
    alone = np.concatenate([exported.encode(item) for item in audio])
    check_share(together, alone)
    sound = exported.decode(alone)
    for item, codes in zip(sound, alone, strict=True):
        np.testing.assert_allclose(item[None], exported.decode(codes), atol=AUDIO, rtol=0)


def test_delays_are_declared(shipped, exported):
    sides = exported.manifest.encoder, exported.manifest.decoder
    assert sum(side.delay for side in sides) == shipped.spec.lookahead
    assert sum(side.delay + side.unit for side in sides[:1]) + sides[1].delay == shipped.spec.latency
