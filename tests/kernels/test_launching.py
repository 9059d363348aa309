"""Triton's programs start on the device of their tensors, and only where there is Triton."""

import ast
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from toneme.kernels import launching
from toneme.kernels.launching import on_device_of_first, on_gpu

FILES = sorted((Path(__file__).parents[2] / "kernels").glob("*_triton.py"))


def test_the_first_tensors_device_is_the_current_one_meanwhile(monkeypatch):
    entered: list[Any] = []
    monkeypatch.setattr(torch.cuda, "device_of", lambda x: entered.append(x) or nullcontext())
    x = torch.zeros(1)
    assert on_device_of_first(lambda a, b, c: (len(entered), a, b, c))(x, 2, c=3) == (1, x, 2, 3)
    assert entered[0] is x


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_function_that_others_call_to_launch_a_kernel_does_so(file):
    functions = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
    launching = {f.name: f for f in functions if any(_is_launch(node) for node in ast.walk(f))}
    assert launching
    guarded = {f.name for f in functions if "on_device_of_first" in map(ast.unparse, f.decorator_list)}
    for function in launching.values():
        callers = [f for f in functions if any(_names(node, function.name) for node in ast.walk(f)) and f is not function]
        inside = function.name.startswith("_") and callers and all(f.name in guarded for f in callers)
        assert function.name in guarded or inside, f"{function.name} launches on the current device"


def _is_launch(node: ast.AST) -> bool:
    """Whether it is `some_kernel[grid](...)`."""
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Subscript) and ast.unparse(called.value).endswith("_kernel")


def _names(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_without_triton_a_gpu_takes_the_definition(monkeypatch):
    x: Any = SimpleNamespace(is_cuda=True)
    monkeypatch.setattr(launching, "HAS_TRITON", True)
    assert on_gpu(x)
    monkeypatch.setattr(launching, "HAS_TRITON", False)
    assert not on_gpu(x)
    monkeypatch.setattr(launching, "HAS_TRITON", True)
    assert not on_gpu(torch.zeros(1))
