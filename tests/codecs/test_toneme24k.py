"""The shipped family at a small size: every promise of a codec, with random weights."""

import dataclasses

import pytest
import torch

from toneme.codecs.errors import AudioError, CheckpointError, ShapeError
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig

SMALL = TonemeConfig(
    encoder_dim=32, encoder_blocks=(1, 1), decoder_dim=32, decoder_blocks=(1, 1), latent_dim=8, codebooks=4, codebook_size=64
)


@pytest.fixture(scope="module", params=[0, 4], ids=["plain", "taught"])
def codec(request) -> TonemeCodec:
    torch.manual_seed(0)
    codec = TonemeCodec(dataclasses.replace(SMALL, taught_dim=request.param), "small").eval()
    codec.quantizer.codebooks.normal_(std=0.5)
    codec.quantizer.codebooks[1:, :, 8:] = 0
    return codec


def noise(batch: int, samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def split(total: int, seed: int) -> list[int]:
    generator, sizes = torch.Generator().manual_seed(seed), []
    while sum(sizes) < total:
        sizes.append(min(total - sum(sizes), int(torch.randint(1, 2000, (), generator=generator))))
    return sizes


def test_rates_are_those_of_the_design():
    spec = TonemeCodec().spec
    assert spec.frame_rate == 50
    assert spec.bitrate(1) == 0.5
    assert spec.bitrate() == 4.0
    assert spec.latency / spec.sample_rate <= 0.080
    assert sum(p.numel() for p in TonemeCodec().parameters()) < 12e6


def test_codebooks_that_were_taught_are_told_and_change_nothing(codec):
    taught = TonemeCodec(dataclasses.replace(codec.config, semantic=1), "small").eval()
    taught.load_state_dict(codec.state_dict())
    assert codec.spec.roles == ("acoustic",) * 4
    assert taught.spec.roles == ("semantic",) + ("acoustic",) * 3
    assert torch.equal(taught.encode(noise(1, 5000)).codes, codec.encode(noise(1, 5000)).codes)
    for wrong in (-1, 5):
        with pytest.raises(CheckpointError, match=f"of 4 codebooks 0 to 4 are semantic; got {wrong}"):
            dataclasses.replace(SMALL, semantic=wrong)


@torch.no_grad()
def test_numbers_for_a_teacher_are_the_first_codes_alone_and_pass_by_the_straight_path(codec):
    taught, own = codec.config.taught_dim, codec.config.latent_dim
    latents = codec.encoder(noise(1, 5000)[:, 0])
    assert latents.shape[2] == codec.quantizer.dim == own + taught
    later, rest = codec.quantizer.encode(latents.transpose(1, 2))[:, 1:], latents.clone()
    rest[..., :own] -= codec.quantizer.decode(codec.encode(noise(1, 5000)).codes[:, :1]).transpose(1, 2)[..., :own]
    rest[..., own:] = 99.0
    plain = codec.quantizer.search(rest.flatten(0, 1), 1)
    assert torch.equal(plain.T[None], later)
    bare = dataclasses.replace(codec.config, taught_dim=0)
    encoder, decoder = TonemeCodec(bare, "bare").encoder.eval(), TonemeCodec(bare, "bare").decoder.eval()
    cut = {"leave.weight": lambda w: w[:own], "leave.bias": lambda w: w[:own]}
    encoder.load_state_dict({k: cut.get(k, lambda w: w)(v) for k, v in codec.encoder.state_dict().items()})
    torch.testing.assert_close(encoder(noise(1, 5000)[:, 0]), latents[..., :own])
    decoder.load_state_dict({k: v[:, :own] if k == "enter.weight" else v for k, v in codec.decoder.state_dict().items()})
    silent = torch.cat([latents[..., :own], torch.zeros_like(latents[..., own:])], dim=2)
    torch.testing.assert_close(decoder(latents[..., :own]), codec.decoder(silent))
    assert not taught or not torch.allclose(codec.decoder(latents), codec.decoder(silent))


def test_numbers_for_a_teacher_that_are_none_are_refused():
    with pytest.raises(CheckpointError, match="taught_dim must be 0 or more; got -1"):
        dataclasses.replace(SMALL, taught_dim=-1)


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 481, 5000])
def test_decode_gives_exactly_the_samples_that_went_in(codec, samples):
    tokens = codec.encode(noise(1, samples))
    assert tokens.codes.shape == (1, 4, -(-samples // 480))
    assert codec.decode(tokens).shape == (1, 1, samples)


@pytest.mark.parametrize("seed", range(4))
def test_streaming_equals_offline_for_random_splits(codec, seed):
    x = noise(2, 7777)
    whole = codec.encode(x)
    encoder = codec.stream_encoder(batch=2)
    pieces = [encoder.push(part) for part in x.split(split(7777, seed), dim=-1)] + [encoder.flush()]
    assert torch.equal(torch.cat(pieces, -1), whole.codes)
    decoder = codec.stream_decoder(batch=2)
    sizes = split(whole.codes.shape[-1], seed)
    sound = [decoder.push(part) for part in whole.codes.split(sizes, dim=-1)] + [decoder.flush(7777)]
    # sums in another order: a few units in the last place of values about 1
    torch.testing.assert_close(torch.cat(sound, -1), codec.decode(whole), atol=1e-5, rtol=0)


def test_a_stream_that_carried_nothing_ends_cleanly(codec):
    assert codec.stream_encoder().flush().shape == (1, 4, 0)
    assert codec.stream_decoder().flush().shape == (1, 1, 0)


def test_the_encoder_hands_a_frame_over_after_its_lookahead(codec):
    encoder = codec.stream_encoder()
    assert encoder.push(noise(1, 959)).shape[-1] == 0
    assert encoder.push(noise(1, 1)).shape[-1] == 1


def test_the_future_beyond_the_lookahead_does_not_change_the_past(codec):
    x = noise(1, 9600)
    changed = x.clone()
    changed[..., 4800:] = 0.3
    ours, theirs = codec.encode(x).codes, codec.encode(changed).codes
    certain = (4800 - SMALL.lookahead) // 480
    assert torch.equal(ours[..., :certain], theirs[..., :certain])
    assert not torch.equal(ours[..., certain:], theirs[..., certain:])


def test_the_stated_lookahead_is_the_decoder_and_encoder_together(codec):
    x = noise(1, 9600)
    changed = x.clone()
    changed[..., 6000:] = 0.3
    ours, theirs = codec(x), codec(changed)
    # a sample may depend on audio up to the end of its frame's hop plus the lookahead
    certain = 6000 - codec.spec.latency
    assert torch.allclose(ours[..., :certain], theirs[..., :certain], atol=1e-6)


def test_a_batch_with_lengths_equals_its_items(codec):
    x = noise(3, 4000)
    lengths = [4000, 1, 2345]
    batch = codec.encode(x, lengths=lengths)
    sound = codec.decode(batch)
    for i, n in enumerate(lengths):
        single = codec.encode(x[i : i + 1, :, :n])
        assert torch.equal(batch[i].codes, single.codes)
        torch.testing.assert_close(sound[i : i + 1, :, :n], codec.decode(single), atol=1e-5, rtol=0)
        assert not sound[i, :, n:].any()


def test_fewer_codebooks_are_a_prefix(codec):
    x = noise(1, 3000)
    assert torch.equal(codec.encode(x, codebooks=2).codes, codec.encode(x).codes[:, :2])
    assert torch.equal(codec.decode(codec.encode(x, codebooks=2)), codec.decode(codec.encode(x).with_depth(2)))


def test_silence_and_clipping_stay_finite(codec):
    for x in (torch.zeros(1, 1, 3000), torch.ones(1, 1, 3000), 100 * noise(1, 3000)):
        assert codec(x).isfinite().all()


def test_bad_audio_and_codes_are_refused(codec):
    with pytest.raises(AudioError, match="NaN"):
        codec.encode(torch.full((1, 1, 500), float("nan")))
    with pytest.raises(ShapeError, match="from 0 to 63"):
        codec.tokens_from_codes(torch.full((1, 4, 3), 64))
    with pytest.raises(ShapeError, match="codebooks must be from 1 to 4"):
        codec.encode(noise(1, 500), codebooks=5)
    with pytest.raises(ShapeError, match="lengths"):
        codec.encode(noise(1, 500), lengths=[501])


def test_saved_codec_gives_the_same_codes_and_refuses_others(codec, tmp_path):
    codec.save(tmp_path)
    loaded = TonemeCodec.from_folder(tmp_path)
    tokens = codec.encode(noise(1, 3000))
    assert loaded.weights_hash == codec.weights_hash
    assert torch.equal(loaded.encode(noise(1, 3000)).codes, tokens.codes)
    other = TonemeCodec(SMALL, "small").eval()
    with pytest.raises(CheckpointError, match="weights"):
        other.decode(tokens)
    assert other.decode(tokens, any_weights=True).shape == (1, 1, 3000)
    with pytest.raises(CheckpointError, match="made by small"):
        TonemeCodec(SMALL, "other").decode(tokens)


def test_other_rates_and_channels_are_fitted(codec):
    stereo = torch.cat([noise(1, 4800, 1), noise(1, 4800, 2)], dim=1)
    tokens = codec.encode(stereo, sample_rate=48000)
    assert tokens.n_samples.tolist() == [2400]


def test_the_training_pass_is_the_coded_one(codec, monkeypatch):
    monkeypatch.setattr("toneme.codecs.toneme24k.PIECE_FRAMES", 3)
    x = noise(2, 7777)
    with torch.inference_mode():
        latents = codec.encoder(x[:, 0])
        codes = codec.quantizer.encode(latents.transpose(1, 2))
        sound = codec.decoder(codec.quantizer.decode(codes).transpose(1, 2))
    tokens = codec.encode(x)
    assert torch.equal(tokens.codes, codes)
    torch.testing.assert_close(codec.decode(tokens)[:, 0], sound[:, :7777], atol=1e-5, rtol=0)
