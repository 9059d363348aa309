"""HuBERT and WavLM in a graph: the features of `codecs.teachers`, whatever the norms and the layer."""

import pytest
import torch

from toneme.codecs.teachers import Teacher, TeacherConfig
from toneme.export.teachers import PlainTeacher, can_be_plain

pytest.importorskip("transformers", reason="teachers need transformers: pip install toneme[train]")
SETTINGS = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
FIRST = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}  # as the large models are
NEAR = {"atol": 1e-5, "rtol": 1e-5}


def lively(kind: str, layer: int | None, extra: dict) -> Teacher:
    """Return a teacher whose norms and biases are not those of an untrained one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = Teacher.from_config(TeacherConfig(kind, layer, tuple({**SETTINGS, **extra}.items())))
        with torch.no_grad():
            for weight in teacher.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)
    return teacher


@pytest.mark.parametrize("layer", [None, 1, -1])
@pytest.mark.parametrize("extra", [{}, FIRST], ids=["after", "before"])
@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
def test_features_are_the_teachers(kind, extra, layer):
    teacher = lively(kind, layer, extra)
    plain = PlainTeacher(teacher)
    for samples in (80, 81, 399, 400, 719, 3333, 20000):
        audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples)) * 0.1 + 0.05
        with torch.no_grad():
            torch.testing.assert_close(plain(audio), teacher(audio), **NEAR)


def test_far_distances_share_a_bias():
    teacher = lively("wavlm", None, {"num_buckets": 8, "max_bucket_distance": 10})
    audio = torch.randn(1, 40 * 320, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        torch.testing.assert_close(PlainTeacher(teacher)(audio), teacher(audio), **NEAR)


def test_other_kinds_are_known():
    assert can_be_plain(lively("hubert", None, {}))
    assert not can_be_plain(lively("hubert", None, {"conv_pos_batch_norm": True}))
