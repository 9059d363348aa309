"""Speaker similarity, cosine from -1 to 1 without unit, higher is better.

Cosine of the x-vectors of estimate and target by WavLM Base+ fine-tuned for speaker verification (Chen et al., "WavLM:
Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing", 2022; `microsoft/wavlm-base-plus-sv`) at 16 kHz.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..weights import find_weights
from . import SPEECH, Metric, check_same_shape, missing_package

RATE = 16000
REPOSITORY = "microsoft/wavlm-base-plus-sv"
FILES = ("config.json", "*processor_config.json", "*model*")


@torch.inference_mode()
def speaker_similarity(estimate: Tensor, target: Tensor, sample_rate: int = RATE) -> float:
    """Return the similarity of estimate and target [time] at 16 kHz.

    Raises:
        MissingDependencyError: if transformers or the weights are missing.
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    extractor, model = load_xvectors(find())
    audio = [extractor(x.numpy(), sampling_rate=RATE, return_tensors="pt").input_values for x in (estimate, target)]
    ours, theirs = (model(values).embeddings[0] for values in audio)
    return torch.nn.functional.cosine_similarity(ours, theirs, dim=0).item()


def find() -> Path:
    """Return the folder of the weights; see `find_weights`."""
    return find_weights("wavlm-base-plus-sv", FILES, REPOSITORY)


@lru_cache
def load_xvectors(folder: Path) -> tuple[Any, Any]:
    """Return the feature extractor and the model of a folder."""
    try:
        from transformers import AutoFeatureExtractor, WavLMForXVector
    except ImportError:
        raise missing_package("speaker similarity", "transformers") from None
    return AutoFeatureExtractor.from_pretrained(folder), WavLMForXVector.from_pretrained(folder).eval()


METRICS = (
    Metric(
        name="speaker_similarity", label="speaker similarity", unit="", better="higher", group="learned",
        compute=speaker_similarity, sample_rate=RATE, domains=SPEECH, packages=("transformers",), ready=find,
    ),
)  # fmt: skip
