"""What a codec is in numbers, of two streams at different rates."""

import dataclasses
import math

import pytest

from toneme.codecs.errors import ShapeError
from toneme.codecs.spec import CodecSpec, StreamSpec

SPEC = CodecSpec(1000, 1, (StreamSpec(40, (16,), ("semantic",)), StreamSpec(20, (4, 5))), causal=True, lookahead=7)


def test_rates_follow_from_the_streams():
    assert SPEC.hop == 20
    assert SPEC.frame_rate == 50
    assert SPEC.frame_rates == (25, 50)
    assert dataclasses.replace(SPEC, nominal_frame_rate=60.0).frame_rates == (30, 60)
    assert SPEC.latency == 47
    assert SPEC.codebook_sizes == (16, 4, 5)
    assert SPEC.roles == ("semantic", "acoustic", "acoustic")
    assert [stream.bits for stream in SPEC.streams] == [(4,), (2, 3)]
    assert StreamSpec(1, (1,)).bits == (1,)


def test_bitrates_add_up_and_choose_the_depth():
    kbps = [0.1, 0.2, 0.2 + 0.05 * math.log2(5)]
    assert [SPEC.bitrate(n) for n in (1, 2, 3)] == pytest.approx(kbps)
    assert SPEC.bitrate() == pytest.approx(kbps[-1])
    assert SPEC.to_dict()["kbps"] == pytest.approx(kbps)
    assert [SPEC.codebooks_for(rate) for rate in (0.1, 0.19, 0.2, 0.3, 10.0)] == [1, 1, 2, 2, 3]
    with pytest.raises(ShapeError, match=r"lowest rate is 0\.1 kbps"):
        SPEC.codebooks_for(0.09)


def test_frames_stand_for_samples_and_a_second_more_may_be_claimed():
    assert SPEC.max_samples((3, 4)) == 120
    assert SPEC.max_samples((1, 4)) == 80
    SPEC.check_length(1120, 120)
    with pytest.raises(ShapeError, match="claim 1121 samples and their frames stand for 120"):
        SPEC.check_length(1121, 120)
