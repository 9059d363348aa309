"""Shipping: half precision on disk, the same codec again on load, and a refusal of what does not fit."""

import pytest
import torch

from toneme.codecs.checkpoint import read_weights
from toneme.codecs.errors import CheckpointError
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.recipes.ship import ship

SMALL = TonemeConfig(
    encoder_dim=16, encoder_blocks=(1, 1), decoder_dim=16, decoder_blocks=(1, 1), latent_dim=4, codebook_size=16
)


def test_a_shipped_codec_is_half_the_size_and_loads_as_the_rounded_one(tmp_path):
    codec = TonemeCodec(SMALL)
    codec.save(tmp_path / "run")
    size = ship(tmp_path / "run", tmp_path / "shipped")
    assert size < 0.6 * (tmp_path / "run" / "model.safetensors").stat().st_size
    loaded = TonemeCodec.from_folder(tmp_path / "shipped")
    for name, tensor in read_weights(tmp_path / "run" / "model.safetensors").items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float())


def test_weights_beyond_half_precision_are_refused(tmp_path):
    codec = TonemeCodec(SMALL)
    with torch.no_grad():
        codec.encoder.leave.bias[0] = 1e6
    codec.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"encoder\.leave\.bias holds values beyond half precision"):
        ship(tmp_path / "run", tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()
