"""Residual codes by a beam: never worse than one code after another, and the best there is where all choices are kept."""

import itertools

import pytest
import torch

from toneme.kernels import rvq_encode
from toneme.kernels.beam import SHORTER, beam_encode, score


def scene(seed: int = 0, rows: int = 40, sizes: tuple[int, int, int] = (3, 7, 4)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shrinking = 0.6 ** torch.arange(sizes[0])[:, None, None]
    return torch.randn(rows, sizes[2], generator=generator), torch.randn(sizes, generator=generator) * shrinking


def test_the_score_is_the_error_of_all_codes_and_a_quarter_of_that_of_fewer() -> None:
    x, books = scene()
    codes = rvq_encode(x, books)
    first = x.double() - books[0, codes[:, 0]].double()
    second = first - books[1, codes[:, 1]].double()
    third = second - books[2, codes[:, 2]].double()
    want = third.square().sum(1) + SHORTER * (first.square().sum(1) + second.square().sum(1))
    torch.testing.assert_close(score(x, books, codes), want)


def test_where_all_choices_are_kept_nothing_is_better() -> None:
    x, books = scene()
    every = torch.tensor(list(itertools.product(range(7), repeat=3)))
    scores = torch.stack([score(x, books, codes.expand(len(x), 3)) for codes in every], dim=1)
    assert torch.equal(beam_encode(x, books, 343), every[scores.argmin(1)])
    assert not torch.equal(rvq_encode(x, books), every[scores.argmin(1)])  # or this showed nothing


@pytest.mark.parametrize("width", [2, 3, 8, 16])
def test_no_row_is_worse_than_with_one_code_after_another(width: int) -> None:
    x, books = scene(1, 300, (6, 32, 8))
    plain, found = score(x, books, rvq_encode(x, books)), score(x, books, beam_encode(x, books, width))
    assert bool((found <= plain).all())
    assert found.mean() < 0.98 * plain.mean()


def test_a_beam_of_one_takes_the_nearest_codes() -> None:
    x, books = scene(2, 300, (6, 32, 8))
    assert torch.equal(beam_encode(x, books, 1), rvq_encode(x, books))


def test_rows_are_coded_alike_whatever_comes_with_them() -> None:
    x, books = scene(3, 130, (8, 64, 16))
    whole = beam_encode(x, books, 4)
    assert torch.equal(torch.cat([beam_encode(part, books, 4) for part in x.split(37)]), whole)
    assert torch.equal(torch.cat([beam_encode(row[None], books, 4) for row in x[:9]]), whole[:9])


def test_equal_codes_go_to_the_lowest_index() -> None:
    x, books = scene(4, 50, (3, 8, 4))
    twice = torch.cat([books, books], dim=1)
    assert torch.equal(beam_encode(x, twice, 16**3), beam_encode(x, books, 8**3))


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_and_few_codes(rows: int) -> None:
    x, books = scene(5, rows, (2, 1, 4))
    assert torch.equal(beam_encode(x, books, 16), torch.zeros(rows, 2, dtype=torch.int64))


def test_half_precision_is_searched_as_the_same_numbers_in_32_bits() -> None:
    x, books = (part.bfloat16() for part in scene(6, 60, (4, 32, 8)))
    assert torch.equal(beam_encode(x, books, 8), beam_encode(x.float(), books.float(), 8))
