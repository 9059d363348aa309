"""AudioMAE: transformers' vision transformer with the same random weights."""

import pytest
import torch

from toneme.codecs.errors import CheckpointError, ShapeError
from toneme.codecs.layers.audiomae import AudioMAE, AudioMAEConfig

SMALL = AudioMAEConfig(width=16, layers=4, heads=2, hidden=24, patch=4, grid=(6, 2), averaged=2)
NAMES = {
    "norm1": "layernorm_before", "norm2": "layernorm_after", "out": "attention.o_proj", "widen": "mlp.fc1", "narrow": "mlp.fc2",
}  # fmt: skip


def test_features_equal_those_of_transformers():
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=24, image_size=(24, 8), patch_size=4,
        num_channels=1, layer_norm_eps=1e-6, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    peer, ours = transformers.ViTModel(config, add_pooling_layer=False).eval(), AudioMAE(SMALL).eval()
    mel = torch.randn(3, 24, 8)
    weights = {"embeddings.cls_token": torch.randn(1, 1, 16), "embeddings.position_embeddings": ours.positions.data}
    ours.first.data = weights["embeddings.cls_token"]
    for theirs, part in [("embeddings.patch_embeddings.projection", ours.embed), ("layernorm", ours.norm)] + [
        (f"layers.{number}.{theirs}", block.get_submodule(name))
        for number, block in enumerate(ours.blocks)
        for name, theirs in NAMES.items()
    ]:
        weights |= {f"{theirs}.{name}": weight for name, weight in part.state_dict().items()}
    for number, block in enumerate(ours.blocks):
        for letter, weight, bias in zip("qkv", block.qkv.weight.chunk(3), block.qkv.bias.chunk(3), strict=True):
            where = f"layers.{number}.attention.{letter}_proj"
            weights |= {f"{where}.weight": weight, f"{where}.bias": bias}
    peer.load_state_dict(weights)
    with torch.no_grad():
        states = peer(mel[:, None], output_hidden_states=True).hidden_states
        expected = torch.stack([peer.layernorm(state) for state in states[-2:]]).mean(0)[:, 1:]
        features = ours(mel)
    assert features.shape == (3, 6, 2, 16)
    torch.testing.assert_close(features.flatten(1, 2), expected, atol=1e-5, rtol=0)


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match=r"\(24, 8\)"):
        AudioMAE(SMALL)(torch.zeros(1, 24, 9))
    with pytest.raises(CheckpointError, match="heads must divide the width"):
        AudioMAEConfig(width=16, heads=3)
    with pytest.raises(CheckpointError, match="0 of 12"):
        AudioMAEConfig(averaged=0)
