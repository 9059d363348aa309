"""Word error rate in per cent, lower is better: of what a recogniser hears in the estimate against what it hears in the target.

English: wav2vec 2.0 Base fine-tuned on LibriSpeech (Baevski et al., 2020; `facebook/wav2vec2-base-960h`), greedy CTC, at
16 kHz; errors are counted by the package jiwer. The recogniser errs on the target too: this is a difference and no accuracy.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...codecs.errors import AudioError
from ..weights import find_weights
from . import SPEECH, Metric, check_same_shape, missing_package

RATE = 16000
REPOSITORY = "facebook/wav2vec2-base-960h"
FILES = ("config.json", "*processor_config.json", "vocab.json", "tokenizer_config.json", "*model*")


def word_error_rate(estimate: Tensor, target: Tensor, sample_rate: int = RATE) -> float:
    """Return the rate of estimate and target [time] at 16 kHz.

    Raises:
        AudioError: if nothing is recognised in the target.
        MissingDependencyError: if jiwer, transformers or the weights are missing.
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    try:
        import jiwer
    except ImportError:
        raise missing_package("WER", "jiwer") from None
    said, heard = transcribe(target), transcribe(estimate)
    if not said:
        raise AudioError("no word is recognised in the target, so WER is undefined: leave this clip out and say so")
    return 100 * float(jiwer.wer(said, heard))


@torch.inference_mode()
def transcribe(waveform: Tensor) -> str:
    """Return what the recogniser hears in a waveform [time] at 16 kHz."""
    processor, model = _recogniser(find())
    audio = processor(waveform.numpy(), sampling_rate=RATE, return_tensors="pt")
    codes = model(audio.input_values).logits.argmax(-1)
    return processor.batch_decode(codes, skip_special_tokens=True)[0].strip()


def find() -> Path:
    """Return the folder of the weights; see `find_weights`."""
    return find_weights("wav2vec2-base-960h", FILES, REPOSITORY)


@lru_cache
def _recogniser(folder: Path) -> tuple[Any, Any]:
    try:
        from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor
    except ImportError:
        raise missing_package("WER", "transformers") from None
    return Wav2Vec2Processor.from_pretrained(folder), Wav2Vec2ForCTC.from_pretrained(folder).eval()


METRICS = (
    Metric(
        name="wer", label="WER", unit="%", better="lower", group="learned", compute=word_error_rate,
        sample_rate=RATE, domains=SPEECH, packages=("jiwer", "transformers"), ready=find,
    ),
)  # fmt: skip
