"""Linear layers on few rows, in C and by PyTorch, against 64 bits."""

import os

import pytest
import torch

from toneme.kernels import few_rows

TOLERANCE = 5e-6  # of sums of up to 4000 products over the root of their number, in another order than 64 bits


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    """Numbers of threads, more than the processor has among them."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def layer(outputs: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(outputs + inputs)
    return torch.randn(outputs, inputs, generator=generator) / inputs**0.5, torch.randn(outputs, generator=generator)


@pytest.mark.usefixtures("way", "threads")
@pytest.mark.parametrize(("outputs", "inputs"), [(128, 128), (513, 131), (7, 4000), (1024, 65), (300, 512)])
def test_equals_64_bits(outputs, inputs):
    weight, bias = layer(outputs, inputs)
    assert weight.numel() >= few_rows.LEAST
    for rows in (*range(1, 9), few_rows.MOST_ROWS, few_rows.MOST_ROWS + 1):
        x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(rows))
        for given in (bias, None):
            with torch.no_grad():
                y = few_rows.linear(x, weight, given)
            expected = torch.nn.functional.linear(x.double(), weight.double(), None if given is None else given.double())
            torch.testing.assert_close(y.double(), expected, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.usefixtures("way")
def test_takes_what_lies_any_way_and_of_any_shape():
    weight, bias = layer(256, 96)
    x = torch.randn(2, 96, 3)
    with torch.no_grad():
        y = few_rows.linear(x.transpose(1, 2), weight, bias)
        assert few_rows.linear(torch.zeros(0, 96), weight).shape == (0, 256)
        assert few_rows.linear(torch.zeros(96), weight, bias).shape == (256,)
        assert few_rows.linear(x.transpose(1, 2).double(), weight.double()).dtype == torch.float64
    torch.testing.assert_close(y, torch.nn.functional.linear(x.transpose(1, 2), weight, bias), atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.usefixtures("way")
def test_a_bias_of_another_length_is_broadcast_or_refused():
    weight, bias = layer(256, 96)
    x = torch.randn(2, 96)
    with torch.no_grad():
        for one in (bias[:1], bias[0]):
            torch.testing.assert_close(
                few_rows.linear(x, weight, one), torch.nn.functional.linear(x, weight, one), atol=TOLERANCE, rtol=TOLERANCE
            )
        with pytest.raises(RuntimeError):
            few_rows.linear(x, weight, bias[:-1])


def test_gradients_are_pytorchs():
    weight, bias = layer(256, 96)
    weight.requires_grad_()
    few_rows.linear(torch.randn(2, 96), weight, bias).sum().backward()
    assert weight.grad is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own():
    weight, bias = layer(512, 512)
    x, before = torch.randn(2, 512), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            expected = few_rows.linear(x, weight, bias)
            child = os.fork()
            if child == 0:
                os._exit(0 if torch.equal(few_rows.linear(x, weight, bias), expected) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)


def test_callers_in_many_threads_do_not_wait_for_each_other():
    from concurrent.futures import ThreadPoolExecutor

    weight, bias = layer(512, 512)
    xs = [torch.randn(3, 512) for _ in range(40)]

    def call(x):
        with torch.no_grad():
            return few_rows.linear(x, weight, bias)

    expected = [call(x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            assert all(torch.equal(a, b) for a, b in zip(pool.map(call, xs), expected, strict=True))
