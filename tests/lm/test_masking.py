"""Masks of models that write all frames at once."""

import itertools

import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.lm.masking import cosine_schedule, hide, masked_share, remask, span_mask, spans_for


def test_share_is_that_of_all_choices_of_starts():
    frames, span, spans = 7, 3, 2
    covered = [
        len({(s + i) % frames for s in starts for i in range(span)}) for starts in itertools.combinations(range(frames), spans)
    ]
    assert masked_share(frames, spans, span) == pytest.approx(sum(covered) / len(covered) / frames)
    assert (masked_share(7, 0, 3), masked_share(7, 5, 3)) == (0, 1)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_as_much_is_masked_as_asked_for_in_whole_spans(share):
    generator = torch.Generator().manual_seed(0)
    mask = span_mask(200, 100, share, 3, generator=generator)
    assert mask.float().mean() == pytest.approx(share, abs=0.03)
    joined = torch.cat([mask, mask], 1)[7].tolist()  # spans may go on at the beginning
    runs = [len(list(run)) for on, run in itertools.groupby(joined) if on][1:-1]
    assert all(run >= 3 for run in runs)
    again = span_mask(200, 100, share, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mask, again)


def test_frames_beyond_an_item_are_not_masked():
    mask = span_mask(3, 10, 1.0, 3, lengths=torch.tensor([10, 2, 0]))
    assert mask.sum(1).tolist() == [10, 2, 0]
    with pytest.raises(ShapeError, match=r"share of masked frames must be from 0 to 1.*got 1\.5 and 3"):
        span_mask(1, 10, 1.5)


def test_schedule_falls_from_all_to_none():
    shares = [cosine_schedule(i, 10) for i in range(11)]
    assert shares[0] == 1
    assert shares[-1] == pytest.approx(0, abs=1e-9)
    assert shares == sorted(shares, reverse=True)
    assert spans_for(100, 0, 3) == 0


def test_finer_codebooks_are_hidden_and_coarser_ones_seen():
    codes = torch.arange(6).reshape(1, 3, 2)
    seen, wanted = hide(codes, torch.tensor([[True, False]]), stage=1, special=9)
    assert seen.tolist() == [[[0, 1], [9, 3], [9, 9]]]
    assert wanted.tolist() == [[[False, False], [True, False], [False, False]]]


def test_the_least_sure_frames_are_written_again_and_a_prompt_never():
    confidence = torch.tensor([[0.1, 0.9, 0.2, 0.8, 0.3, 0.7]])
    fixed = torch.tensor([[True, False, False, False, False, False]])
    assert remask(confidence, fixed, 0.4).tolist() == [[False, False, True, False, True, False]]
    spans = remask(confidence, torch.zeros_like(fixed), 0.34, span=2)
    assert spans.tolist() == [[False, False, False, False, True, True]]
    short = remask(confidence[:, :5], torch.zeros_like(fixed[:, :5]), 0.4, span=2)  # the last span is cut at the end
    assert short.tolist() == [[False, False, False, False, True]]
    assert not remask(confidence, fixed, 0.0).any()
    assert remask(confidence, fixed, 1.0).tolist() == [[False] + [True] * 5]
