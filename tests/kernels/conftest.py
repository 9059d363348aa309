"""What the tests of the Triton kernels share: where they run, and memory that is never zero by luck."""

import os

import pytest
import torch


@pytest.fixture
def device() -> str:
    """A GPU where there is one, else the CPU under Triton's interpreter."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU or Triton's interpreter; test_interpreter.py runs this file under the interpreter")
    return "cuda"


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
