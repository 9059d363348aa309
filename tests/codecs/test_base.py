"""What every codec promises, shown on a small EnCodec: shapes taken, refusals, resampling, saving."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from toneme.codecs.base import config_from_dict, read_config, set_fields
from toneme.codecs.encodec import EncodecCodec, EncodecConfig
from toneme.codecs.errors import CheckpointError, ShapeError
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


def test_a_field_that_is_added_leaves_the_hash_as_it_was():
    @dataclasses.dataclass(frozen=True)
    class Wider(EncodecConfig):
        added: int = 3

    given = {entry.name: getattr(CONFIG, entry.name) for entry in dataclasses.fields(CONFIG)}
    assert set_fields(Wider(**given)) == set_fields(dataclasses.replace(CONFIG, licence="MIT")) == set_fields(CONFIG)
    assert set_fields(Wider(**given, added=4)) == set_fields(CONFIG) | {"added": 4}
    assert set_fields(CONFIG)["seanet"] == {"filters": 2, "dimension": 4, "ratios": (4, 2)}


def test_a_folder_that_is_no_codecs_is_refused(codec: EncodecCodec, tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        EncodecCodec.from_folder(tmp_path)
    codec.save(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    for broken in ("{", "[]", json.dumps({"family": "encodec"})):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(CheckpointError, match="configuration"):
            read_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**about, "family": "other"}))
    with pytest.raises(CheckpointError, match="family other"):
        EncodecCodec.from_folder(tmp_path)


def test_unknown_and_missing_settings_are_refused():
    with pytest.raises(CheckpointError, match="unknown settings"):
        config_from_dict(SEANetConfig, {"filter": 4})
    assert config_from_dict(SEANetConfig, {"ratios": [4, 2]}).ratios == (4, 2)
