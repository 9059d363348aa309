"""TF32 is off in cuDNN while a codec on a GPU works, and as it was before and after."""

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from toneme.codecs.full_precision import LAYERS, WHOLE
from toneme.codecs.half_precision import inference


def settings() -> list[str]:
    """Of each kind of layer; "none" is the default of the hardware's own arithmetic."""
    return [getattr(torch.backends.cudnn, layer).fp32_precision for layer in LAYERS]


def layer_on(kind: str) -> Any:
    """What `inference` asks of a module, as if there were a GPU."""
    weight = SimpleNamespace(dtype=torch.float32, device=torch.device(kind), is_cuda=kind == "cuda")
    return SimpleNamespace(parameters=lambda: iter([weight]))


def test_a_codec_on_a_gpu_works_without_tf32():
    before = settings()
    assert before == ["tf32", "tf32"]  # else this says nothing
    with inference(layer_on("cuda")):
        assert settings() == ["none", "none"]
        assert not torch.backends.cudnn.allow_tf32  # may be asked: PyTorch refuses where settings of two kinds were mixed
    assert settings() == before
    assert torch.backends.cudnn.allow_tf32


def test_a_codec_on_a_processor_changes_nothing():
    before = settings()
    with inference(layer_on("cpu")):
        assert settings() == before


def test_the_first_to_enter_and_the_last_to_leave_count():
    before, first, second = settings(), ExitStack(), ExitStack()
    first.enter_context(WHOLE)
    second.enter_context(WHOLE)
    first.close()
    assert settings() == ["none", "none"]
    second.close()
    assert settings() == before


def fail_inside(expected: list[str]) -> None:
    with WHOLE:
        assert settings() == expected
        raise KeyError


def test_a_callers_own_choice_comes_back():
    try:
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # the newer setting
        with pytest.raises(KeyError):
            fail_inside(["ieee", "ieee"])
        assert settings() == ["ieee", "tf32"]
    finally:
        torch.backends.cudnn.allow_tf32 = True
    assert settings() == ["tf32", "tf32"]
