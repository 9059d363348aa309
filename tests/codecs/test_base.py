"""What every codec promises, shown on a small EnCodec: shapes taken, refusals, resampling, saving."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from toneme.codecs.encodec import EncodecCodec, EncodecConfig
from toneme.codecs.errors import AudioError, CheckpointError, ShapeError
from toneme.codecs.layers.seanet import SEANetConfig

CONFIG = EncodecConfig(seanet=SEANetConfig(filters=2, dimension=4, ratios=(4, 2)), codebooks=4, codebook_size=16)


def build(seed: int = 0, name: str = "tiny") -> EncodecCodec:
    torch.manual_seed(seed)
    return EncodecCodec(CONFIG, name).eval()


@pytest.fixture(scope="module")
def codec() -> EncodecCodec:
    return build()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 0.1


def test_one_item_needs_no_batch(codec: EncodecCodec):
    codes = codec.encode(noise(1, 1, 500)).codes
    for shape in ((500,), (1, 500)):
        assert torch.equal(codec.encode(noise(1, 1, 500).reshape(shape)).codes, codes)


def test_forward_is_encode_and_decode(codec: EncodecCodec):
    audio = noise(2, 1, 333)
    assert torch.equal(codec(audio), codec.decode(codec.encode(audio)))


def test_other_rates_and_channels_are_fitted(codec: EncodecCodec):
    tokens = codec.encode(noise(1, 2, 48000), sample_rate=48000)
    assert tokens.n_samples.tolist() == [24000]
    assert tokens.channels == 1


def test_what_comes_out_takes_part_in_training(codec: EncodecCodec):
    table, layer = torch.nn.Embedding(16, 2), torch.nn.Conv1d(1, 2, 3)
    tokens = codec.encode(noise(1, 1, 800))
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    streamed = encoder.push(noise(1, 1, 800)), encoder.flush()
    for codes in (tokens.codes, *streamed):
        table(codes).sum().backward()
    for audio in (codec.decode(tokens), codec(noise(1, 1, 800)), *(decoder.push(codes) for codes in streamed), decoder.flush()):
        assert not audio.requires_grad, "a stream that tracks gradients holds all that it ever heard"
        audio.mul_(2)
        layer(torch.nn.functional.pad(audio, (0, 3))).sum().backward()
    assert tokens.lengths.add_(0).tolist() == [[100]]


def test_audio_may_ask_for_gradients(codec: EncodecCodec):
    audio = noise(1, 1, 500)
    assert torch.equal(codec.encode(audio.clone().requires_grad_()).codes, codec.encode(audio).codes)


def test_no_items_are_none(codec: EncodecCodec):
    tokens = codec.encode(noise(0, 1, 500))
    assert tokens.codes.shape == (0, 4, 0)
    assert codec.decode(tokens).shape == (0, 1, 0)
    with pytest.raises(ShapeError, match="at least one item"):
        codec.stream_encoder(0)
    with pytest.raises(ShapeError, match="at least one item"):
        codec.stream_decoder(0)


def test_a_rate_of_nothing_is_not_the_own_rate(codec: EncodecCodec):
    with pytest.raises(AudioError, match="got 0"):
        codec.encode(noise(1, 1, 500), sample_rate=0)


def test_what_the_type_does_not_hold_is_infinite(codec: EncodecCodec):
    with pytest.raises(AudioError, match="infinite"):
        codec.encode(noise(1, 1, 500).double() * 1e300)


def test_streams_take_no_integers_and_their_own_number_of_items(codec: EncodecCodec):
    with pytest.raises(ShapeError, match="divide"):
        codec.stream_encoder().push(torch.full((1, 1, 500), 1000, dtype=torch.int16))
    with pytest.raises(ShapeError, match="takes 2 items at once; got 1"):
        codec.stream_decoder(2).push(torch.zeros(1, 4, 3, dtype=torch.int64))


def test_decode_says_what_makes_tokens_of_codes(codec: EncodecCodec):
    with pytest.raises(ShapeError, match="tokens_from_codes"):
        codec.decode(torch.zeros(1, 4, 3, dtype=torch.int64))  # pyright: ignore[reportArgumentType]


def test_codes_of_an_npy_file_become_tokens(codec: EncodecCodec, tmp_path: Path):
    tokens = codec.encode(noise(1, 1, 500))
    tokens.save(tmp_path / "codes.npy")
    again = codec.tokens_from_codes(np.load(tmp_path / "codes.npy")[None], n_samples=np.int64(500))
    assert torch.equal(again.codes, tokens.codes)
    assert again.n_samples.tolist() == [500]


@pytest.mark.parametrize("n_samples", [24, np.int64(24), torch.tensor(24), [24], (24,), np.array([24]), torch.tensor([24])])
def test_samples_are_counted_in_any_type(codec: EncodecCodec, n_samples: object):
    codes = torch.zeros(1, 4, 3, dtype=torch.int64)
    assert codec.tokens_from_codes(codes, n_samples).n_samples.tolist() == [24]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("n_samples", [24.0, [24.5], "24", [1, 2], -1, [[24]]])
def test_other_counts_of_samples_are_refused(codec: EncodecCodec, n_samples: object):
    with pytest.raises(ShapeError, match="n_samples"):
        codec.tokens_from_codes(torch.zeros(1, 4, 3, dtype=torch.int64), n_samples)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("codes", [torch.zeros(1, 4, 3, dtype=torch.bool), torch.zeros(1, 0, 3, dtype=torch.int64)])
def test_truth_values_and_no_codebooks_are_no_codes(codec: EncodecCodec, codes: torch.Tensor):
    with pytest.raises(ShapeError, match="codes must be"):
        codec.tokens_from_codes(codes)


def test_a_codec_is_the_same_whatever_the_defaults_of_pytorch(codec: EncodecCodec, tmp_path: Path):
    audio = noise(2, 1, 500)
    tokens, sound = codec.encode(audio), codec(audio)
    codec.save(tmp_path)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        again = EncodecCodec.from_folder(tmp_path)
        assert again.weights_hash == tokens.weights_hash
        found, heard = again.encode(audio), again.decode(tokens)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(before)
    assert torch.equal(found.codes, tokens.codes)
    assert heard.dtype == torch.float32
    assert torch.equal(heard, sound)


def test_a_batch_of_nothing_is_nothing(codec: EncodecCodec):
    tokens = codec.encode(noise(3, 1, 0))
    assert tokens.codes.shape == (3, 4, 0)
    assert codec.decode(tokens).shape == (3, 1, 0)


@pytest.mark.parametrize(
    ("audio", "options"),
    [
        (torch.zeros(1, 1, 8, dtype=torch.int16), {}),
        (torch.zeros(1, 1, 1, 8), {}),
        (torch.zeros(2, 1, 8), {"lengths": [8]}),
        (torch.zeros(1, 1, 8), {"lengths": [9]}),
        (torch.zeros(1, 1, 8), {"lengths": [-1]}),
        (torch.zeros(1, 1, 8), {"codebooks": 5}),
        (torch.zeros(1, 1, 8), {"codebooks": 0}),
        (torch.zeros(1, 1, 8), {"codebooks": 2.0}),
        (torch.zeros(1, 1, 8), {"lengths": [0.5]}),
        (torch.zeros(1, 1, 8).numpy(), {}),
        (torch.zeros(4096, 2), {}),
    ],
)
def test_what_does_not_fit_is_refused(codec: EncodecCodec, audio: torch.Tensor, options: dict):
    with pytest.raises(ShapeError):
        codec.encode(audio, **options)


def test_tokens_of_others_are_refused(codec: EncodecCodec):
    tokens = codec.encode(noise(1, 1, 100))
    with pytest.raises(CheckpointError, match="made by tiny, not by other"):
        build(name="other").decode(tokens)
    other = build(seed=1)
    with pytest.raises(CheckpointError, match="any-weights"):
        other.decode(tokens)
    assert other.decode(tokens, any_weights=True).shape == (1, 1, 100)


def test_codes_of_a_language_model_become_tokens(codec: EncodecCodec):
    tokens = codec.tokens_from_codes(torch.zeros(2, 3, 10, dtype=torch.int64), n_samples=[80, 33])
    assert tokens.lengths.tolist() == [[10], [5]]
    assert codec.decode(tokens).shape == (2, 1, 80)
    for codes, n_samples in (
        (torch.full((1, 4, 2), 16), None),
        (torch.zeros(1, 4, 2).long(), [1, 2]),
        (torch.zeros(4, 2).long(), None),
    ):
        with pytest.raises(ShapeError):
            codec.tokens_from_codes(codes, n_samples)


def test_the_hash_follows_the_weights():
    codec, other = build(), build(seed=1)
    before = codec.weights_hash
    codec.load_state_dict(other.state_dict())
    assert codec.weights_hash == other.weights_hash != before


def test_the_hash_follows_training():
    codec = build()
    before = codec.weights_hash
    optimizer = torch.optim.AdamW(codec.parameters(), 0.1)
    for parameter in codec.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    after = codec.weights_hash
    assert after != before
    with torch.no_grad():
        codec.quantizer.codebooks[0].add_(1)
    assert codec.weights_hash not in (before, after)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda codec: pickle.loads(pickle.dumps(codec)), lambda codec: codec.cpu()])
def test_copies_keep_the_hash_of_rounded_weights_and_follow_their_own(copied: Callable[[EncodecCodec], EncodecCodec]):
    narrow = copied(build().to(torch.bfloat16))
    assert narrow.weights_hash == build().weights_hash
    with torch.no_grad():
        narrow.encoder.first.bias.add_(1)
    assert narrow.weights_hash != build().weights_hash


def test_a_copy_of_a_codec_that_has_changed_has_a_hash_of_its_own():
    codec = build()
    before = codec.weights_hash
    with torch.no_grad():
        codec.encoder.first.bias.add_(1)
    assert copy.deepcopy(codec).weights_hash == codec.weights_hash != before


@pytest.mark.parametrize("asked_before", [False, True])
def test_a_codec_in_another_number_format_is_still_the_same_codec(asked_before: bool):
    codec, narrow = build(), build()
    if asked_before:
        assert narrow.weights_hash
    narrow = narrow.to(torch.bfloat16)
    assert narrow.weights_hash == codec.weights_hash
    assert codec.decode(narrow.encode(noise(1, 1, 64))).shape == (1, 1, 64)
    narrow.load_state_dict(build(seed=1).state_dict())
    assert narrow.weights_hash != codec.weights_hash


def test_saving_that_fails_leaves_the_configuration_that_was_there(tmp_path, monkeypatch):
    build().save(tmp_path)
    before = (tmp_path / "config.json").read_bytes()

    def full(path, text, *options):
        path.write_bytes(text[:10].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        build(name="other").save(tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
