"""What the tests of the kernels share: where they run, memory that is never zero by luck, and codebooks that were trained."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

import toneme
from toneme.codecs.audio import read_audio
from toneme.kernels import fused

RECORDINGS = 12  # of the corpus; ten seconds each


@pytest.fixture
def device() -> str:
    """A GPU where there is one, else the CPU under Triton's interpreter."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU or Triton's interpreter; test_interpreter.py runs this file under the interpreter")
    return "cuda"


@pytest.fixture(params=["C", "PyTorch"])
def each_search(request, monkeypatch) -> None:
    """Each of the CPU's two searches."""
    if request.param == "PyTorch":
        monkeypatch.setattr(fused, "takes", lambda D: False)
    elif not fused.takes(1):
        pytest.skip("needs the C kernels, and a processor whose vectors are theirs")


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch):
    """Memory that a kernel does not write holds NaN or -7, so that a test sees it."""

    def poison(make):
        def made(*args, **kwargs):
            tensor = make(*args, **kwargs)
            if tensor.is_floating_point():
                return tensor.fill_(torch.nan)
            return tensor.fill_(True) if tensor.dtype == torch.bool else tensor.fill_(-7)

        return made

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poison(getattr(owner, name)))


@pytest.fixture(scope="session")
def trained(samples: Path) -> tuple[Tensor, Tensor]:
    """Latents [N, 64] of the made samples, and the codebooks [8, 1024, 64] of the model in the package."""
    return latents_of(sorted(samples.glob("*.flac"))), codebooks_of("default")


@pytest.fixture
def trained_on_recordings(trained: tuple[Tensor, Tensor], corpus: Path | None) -> tuple[Tensor, Tensor]:
    """As `trained`, with latents of recordings where there are some."""
    if corpus is None:
        return trained
    return torch.cat([trained[0], latents_of(sorted((corpus / "eval").rglob("*.flac"))[::7][:RECORDINGS])]), trained[1]


@torch.inference_mode()
def latents_of(paths: list[Path]) -> Tensor:
    """What the default codec's quantizer is given for these files, as rows [N, dim]."""
    codec, seen = toneme.load("default"), []
    encode = codec.quantizer.encode

    def record(latents: Tensor, depth: int | None = None) -> Tensor:
        seen.append(latents.transpose(1, 2).flatten(0, 1))
        return encode(latents, depth)

    codec.quantizer.encode = record
    for path in paths:
        codec.encode(*read_audio(path))
    return torch.cat(seen).clone()


def codebooks_of(name: str) -> Tensor:
    return toneme.load(name).quantizer.codebooks.clone()
