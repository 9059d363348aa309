"""Speaker similarity: a small WavLM with random weights, run by transformers beside us."""

import pytest
import torch

from toneme.eval import weights
from toneme.eval.metrics.frechet import wavlm_mean
from toneme.eval.metrics.speaker import METRICS, load_xvectors, speaker_similarity

from ..signals import noise, tone

transformers = pytest.importorskip("transformers")
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": (16, 16),
    "conv_kernel": (10, 8), "conv_stride": (80, 4), "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2, "tdnn_dim": (8, 8, 8, 8, 24), "xvector_output_dim": 12,
}  # fmt: skip


@pytest.fixture
def found(tmp_path, monkeypatch):
    folder = tmp_path / "wavlm-base-plus-sv"
    torch.manual_seed(0)
    model = transformers.WavLMForXVector(transformers.WavLMConfig(**SIZES))
    model.feature_extractor.weight.data *= 1e9  # of so small a network they are near 1e-9, where a cosine has no digits
    model.feature_extractor.bias.data.zero_()
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    weights.find_weights.cache_clear()
    yield folder
    weights.find_weights.cache_clear()


@torch.inference_mode()
def test_it_is_the_cosine_of_the_models_embeddings(found):
    estimate, target = tone(200) + 0.3 * noise(16000), tone(300)
    assert METRICS[0].obstacle() == ""
    assert speaker_similarity(target, target) == pytest.approx(1, abs=1e-5)
    model = transformers.WavLMForXVector.from_pretrained(found).eval()
    ours, theirs = (model(x[None]).embeddings[0].double() for x in (estimate, target))
    expected = (ours @ theirs / ours.norm() / theirs.norm()).item()
    assert speaker_similarity(estimate, target) == pytest.approx(expected, abs=1e-4)
    assert expected < 1
    load_xvectors.cache_clear()


def test_means_of_the_last_layer_are_embeddings_of_windows(found):
    assert wavlm_mean(noise(40000)).shape == (4, 16)
    load_xvectors.cache_clear()
