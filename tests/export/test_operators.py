"""Layers that are one operator in a graph do in PyTorch what they stand for, and their names are their own."""

import re
from collections import Counter
from pathlib import Path

import torch
from torch.nn import functional as F

import toneme.kernels
from toneme.export import operators
from toneme.kernels import half_norms, rvq_encode_reference
from toneme.kernels.rescan import error_factors

ROOT = Path(toneme.kernels.__file__).parent.parent


def test_no_two_operators_of_torch_share_a_name():
    """The second would replace the first wherever both are imported."""
    text = "".join(path.read_text() for folder in ("kernels", "export") for path in (ROOT / folder).glob("*.py"))
    names = Counter(re.findall(r'custom_op\(\s*"(toneme::\w+)"', text))
    assert len(names) > 10
    assert set(names.values()) == {1}


def test_elu_snake_and_delayed_rows():
    x, late, first = torch.randn(2, 5, 3), torch.randn(2, 5, 3), torch.randn(2, 1, 3)
    scale = torch.tensor([0.5, 1.0, -2.0])
    torch.testing.assert_close(operators.elu(x), F.elu(x))
    torch.testing.assert_close(operators.scaled_snake(x, scale), x * scale + (x * scale).sin() ** 2)
    found = operators.delayed(x, late, first)
    torch.testing.assert_close(found[:, 0], x[:, 0] + first[:, 0])
    torch.testing.assert_close(found[:, 1:], x[:, 1:] + late[:, :-1])


@torch.no_grad()
def test_lstm_is_torchs():
    layer = torch.nn.LSTM(3, 4, batch_first=True)
    x, hidden, cell = torch.randn(2, 7, 3), torch.randn(1, 2, 4), torch.randn(1, 2, 4)
    weights, recurrent, *biases = layer.all_weights[0]
    found = operators.lstm(x, weights, recurrent, biases[0] + biases[1], hidden, cell)
    expected, after = layer(x, (hidden, cell))
    for ours, theirs in zip(found, (expected, *after), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_nearest_is_a_stage_of_the_search():
    rows, codebook = torch.randn(30, 6), torch.randn(1, 11, 6)
    norms = half_norms(codebook)
    slope, offset = (bound.item() for bound in error_factors(codebook, norms))
    codes, rest = operators.nearest(rows, codebook[0], -norms[0], slope, offset)
    assert torch.equal(codes, rvq_encode_reference(rows, codebook)[:, 0])
    torch.testing.assert_close(rest, rows - codebook[0][codes])
