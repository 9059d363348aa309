"""Summaries: intervals near those of the normal law, scipy's bootstrap beside them, seeds, failures."""

import numpy as np
import pytest

from toneme.eval.summary import Summary, summarise, summarise_ratio, summarise_set

VALUES = np.random.default_rng(1).normal(3.0, 1.0, 400)


def test_interval_is_about_that_of_the_normal_law():
    summary = summarise(VALUES.tolist(), failures=2)
    assert (summary.failures, summary.clips) == (2, 400)
    assert summary.median == pytest.approx(np.median(VALUES))
    assert summary.high - summary.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert str(summary).endswith("(2 failed)")
    with pytest.raises(ValueError, match="nothing to summarise"):
        summarise([], failures=3)


def test_interval_is_about_that_of_scipys_bootstrap():
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.bootstrap((VALUES[:50],), np.mean, method="percentile", random_state=0).confidence_interval
    ours = summarise(VALUES[:50].tolist())
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)


def test_the_same_values_give_the_same_interval():
    assert summarise(VALUES.tolist()) == summarise(VALUES.tolist())


def test_a_distance_of_sets_is_drawn_by_clips():
    pairs = [(np.full((2, 1), value), np.zeros((2, 1))) for value in VALUES]
    summary = summarise_set(pairs, lambda a, b: float(a.mean() - b.mean()), failures=1)
    assert summary.mean == pytest.approx(VALUES.mean())
    assert (summary.median, summary.clips, summary.failures) == (None, 400, 1)
    assert summary.high - summary.low == pytest.approx(2 * 1.96 / 20, rel=0.25)


def test_a_value_without_interval_is_written_alone():
    assert str(Summary(1.5, None, None, None, 3, 0)) == "1.500"


def test_ratio_weighs_clips_by_what_they_are_counted_out_of():
    summary = summarise_ratio([(1, 2), (0, 8)], failures=1)
    assert (summary.mean, summary.clips, summary.failures) == (10, 2, 1)
    assert (summary.low, summary.high) == (0, 50)  # either clip twice
    assert summarise_ratio([(1, 2), (0, 8)], scale=1).mean == pytest.approx(0.1)
    hits = [float(value > 3) for value in VALUES]
    ratio, mean = summarise_ratio([(hit, 1) for hit in hits]), summarise(hits)
    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((100 * mean.mean, 100 * mean.low, 100 * mean.high))
    with pytest.raises(ValueError, match="no clip counts"):
        summarise_ratio([(0, 0)])
