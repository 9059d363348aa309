"""Patterns: every kind comes back, MusicGen's and Moshi's own results, masks, what may be written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toneme.codecs.errors import ShapeError
from toneme.lm.pattern import Pattern

GOLDENS = Path(__file__).parent.parent / "goldens"
sizes = st.lists(st.integers(2, 3000), min_size=1, max_size=6).map(tuple)
initial = st.integers(0, 2)


@st.composite
def patterns(draw) -> Pattern:
    """Any pattern whose sizes are known."""
    own, first = draw(sizes), draw(initial)
    kind = draw(
        st.sampled_from(["parallel", "delay", "late", "partial", "flatten", "grouped", "coarse", "nar", "streams", "stereo"])
    )
    late = st.lists(st.integers(0, 4), min_size=len(own), max_size=len(own))
    if kind == "delay":
        return Pattern.delay(own, initial=first)
    if kind == "late":
        return Pattern.delay(own, draw(late), initial=first)
    if kind == "partial":
        return Pattern.partial_delay(own, draw(st.integers(1, 3)), first)
    if kind == "flatten":
        return Pattern.flatten(own, initial=first)
    if kind == "grouped":
        return Pattern.flatten(own, [min(q, 1) for q in range(len(own))], first)
    if kind == "coarse":
        return Pattern.coarse_first(own, draw(st.integers(1, len(own))), first)
    if kind == "nar":
        return Pattern.ar_nar(own, first)
    if kind == "streams":
        return Pattern.multi_stream({"text": (50,), "a": own, "b": own}, {"a": draw(late), "text": 2}, first)
    return Pattern.stereo(own, first) if kind == "stereo" else Pattern.parallel(own, first)


def codes_for(pattern: Pattern, batch: int, frames: int, seed: int = 0) -> torch.Tensor:
    chance = torch.rand(batch, pattern.codebooks, frames, generator=torch.Generator().manual_seed(seed))
    return (chance * torch.tensor(pattern.sizes)[:, None]).long()


@given(pattern=patterns(), batch=st.integers(1, 3), frames=st.integers(0, 12), seed=st.integers(0, 99))
def test_every_pattern_comes_back(pattern, batch, frames, seed):
    codes = codes_for(pattern, batch, frames, seed)
    sequence = pattern.apply(codes)
    assert sequence.shape == (batch, pattern.n_rows, pattern.n_columns(frames))
    assert pattern.n_frames(sequence.shape[-1]) == frames
    assert torch.equal(pattern.revert(sequence), codes)
    if pattern.n_rows == 1:
        assert torch.equal(pattern.revert(sequence[:, 0]), codes)


@given(pattern=patterns(), frames=st.integers(1, 12), seed=st.integers(0, 99), data=st.data())
def test_items_of_other_lengths_come_back_and_are_masked(pattern, frames, seed, data):
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, frames), min_size=2, max_size=2)))
    codes = codes_for(pattern, 2, frames, seed)
    sequence, mask = pattern.apply(codes, lengths), pattern.loss_mask(frames, lengths)
    used = torch.arange(frames) < lengths[:, None, None]
    assert torch.equal(pattern.revert(sequence, lengths), codes * used)
    assert mask.sum((1, 2)).tolist() == (lengths * pattern.codebooks).tolist()
    special = torch.tensor(pattern.special)[:, None].expand_as(mask[0])
    assert torch.equal(sequence[~mask], special.expand_as(mask)[~mask])


@given(pattern=patterns(), frames=st.integers(1, 8))
def test_what_may_be_written_is_what_is_written(pattern, frames):
    sequence = pattern.apply(codes_for(pattern, 1, frames))[0]
    stages = torch.tensor(pattern.stages)
    for step in range(pattern.initial, sequence.shape[-1]):
        for row, allowed in enumerate(pattern.allowed_ids(step, frames)):
            if not stages.any() or not stages[row]:
                assert int(sequence[row, step]) in allowed
        assert (len(allowed) == 1) == (pattern.codebooks_at(step, frames)[-1] < 0 or bool(stages[-1]))


@given(pattern=patterns(), frames=st.integers(1, 8), seed=st.integers(0, 99), batch=st.integers(1, 2))
def test_step_by_step_gives_the_same_frames(pattern, frames, seed, batch):
    codes = codes_for(pattern, batch, frames, seed)
    sequence, stepper = pattern.apply(codes), pattern.generator(batch, frames)
    pieces = []
    while stepper.step < sequence.shape[-1]:
        forced, column = stepper.fixed(), sequence[..., stepper.step]
        pieces.append(stepper.push(torch.where(forced < 0, column, -7)))
    for stage in range(1, max(pattern.stages) + 1):
        pieces.append(stepper.fill(codes[:, [stage]]))
    assert torch.equal(torch.cat(pieces, -1), codes)
    if not any(pattern.stages):
        assert torch.equal(stepper.sequence, sequence)


@given(frames=st.integers(1, 9))
def test_logits_come_back_as_codes_do(frames):
    pattern = Pattern.delay((8, 8, 8))
    codes = codes_for(pattern, 2, frames)
    logits = torch.nn.functional.one_hot(pattern.apply(codes), 9).float()
    values, there = pattern.revert_values(logits)
    assert there.all()
    assert torch.equal(values.argmax(-1), codes)


# -- as others have it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
def test_delay_equals_musicgen(channels):
    transformers = pytest.importorskip("transformers")
    config = transformers.MusicgenDecoderConfig(
        vocab_size=16, num_codebooks=4 * channels, audio_channels=channels, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, ffn_dim=16,
    )  # fmt: skip
    model = transformers.MusicgenForCausalLM(config)
    pattern = Pattern.stereo((16,) * 4) if channels == 2 else Pattern.delay((16,) * 4)
    codes = codes_for(pattern, 2, 7)
    theirs_in = torch.nn.functional.pad(codes, (1, 0), value=16).flatten(0, 1)  # a start token, then the codes
    _, mask = model.build_delay_pattern_mask(theirs_in, pad_token_id=16, max_length=pattern.n_columns(7))
    assert torch.equal(mask.reshape(2, 4 * channels, -1), pattern.apply(codes))


def test_delay_equals_moshi():
    with np.load(GOLDENS / "moshi_delay.npz") as golden:
        codes, delayed = (torch.from_numpy(golden[name].astype(np.int64)) for name in ("codes", "delayed"))
    pattern = Pattern.moshi()
    assert torch.equal(pattern.apply(codes), delayed)
    assert torch.equal(pattern.revert(delayed), codes[..., :-1])  # fine codes of the last frame are cut off
    values, there = pattern.revert_values(delayed)
    assert torch.equal(values[:, there], codes[:, there])
    assert there[0].all()
    assert not there[2, -1]


def test_named_streams():
    pattern = Pattern.moshi(100, (16,) * 3)
    codes = codes_for(pattern, 2, 5)
    streams = pattern.split(codes)
    assert [(name, own.shape[1]) for name, own in streams.items()] == [("text", 1), ("agent", 3), ("user", 3)]
    assert torch.equal(pattern.apply(streams), pattern.apply(codes))
    with pytest.raises(ShapeError, match=r"streams are \['text', 'agent', 'user'\]; got \['text'\]"):
        pattern.apply({"text": codes[:, :1]})
    left, right = codes_for(Pattern.parallel((9, 9)), 1, 3, 1), codes_for(Pattern.parallel((9, 9)), 1, 3, 2)
    stereo = Pattern.stereo((9, 9))
    joined = stereo.join({"left": left, "right": right})
    assert torch.equal(joined[:, 0::2], left)
    assert torch.equal(stereo.split(joined)["right"], right)


def test_kinds_as_they_are_drawn():
    """Written out by hand; 9 is the special token."""
    codes = torch.tensor([[[0, 1, 2], [3, 4, 5], [6, 7, 8]]])
    drawn = {
        Pattern.parallel((9, 9, 9)): ["9012", "9345", "9678"],
        Pattern.delay((9, 9, 9)): ["901299", "993459", "999678"],
        Pattern.partial_delay((9, 9, 9)): ["90129", "99345", "99678"],
        Pattern.flatten((9, 9, 9)): ["9036147258"],
        Pattern.flatten((9, 9, 9), (0, 1, 1)): ["9091929", "9939495", "9969798"],
        Pattern.coarse_first((9, 9, 9)): ["9012999", "9999345", "9999678"],
        Pattern.coarse_first((9, 9, 9), 2, initial=0): ["012999", "345999", "999678"],
        Pattern.delay((9, 9, 9), tail=False): ["9012", "9934", "9996"],
    }
    for pattern, rows in drawn.items():
        assert ["".join(map(str, row)) for row in pattern.apply(codes)[0].tolist()] == rows


# -- refusals ---------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused():
    pattern, one = Pattern.delay((8, 8)), torch.tensor([[[0, 7, 0], [0, 0, 8]]])
    for call, message in [
        (lambda: pattern.apply(torch.zeros(1, 3, 4).long()), r"takes codes \[batch, 2, frames\]; got \[1, 3, 4\]"),
        (lambda: pattern.apply(torch.full((1, 2, 4), 8)), "codebook 0 must be from 0 to 7; got 8 in frame 0 of item 0"),
        (lambda: pattern.apply(one), "codebook 1 must be from 0 to 7; got 8 in frame 2 of item 0"),
        (lambda: pattern.apply(one - 1), "codebook 0 must be from 0 to 7; got -1 in frame 0 of item 0"),
        (lambda: pattern.revert(torch.full((1, 2, 4), 8)), "the sequence is cut or out of step"),
        (lambda: pattern.revert(torch.zeros(1, 2, 2).long()), "2 columns are no whole number of frames"),
        (lambda: pattern.revert(torch.zeros(1, 3, 4).long()), r"takes sequences \[batch, 2, columns\]"),
        (lambda: Pattern.delay(2).allowed_ids(0), "make the pattern with sizes"),
        (lambda: Pattern.coarse_first((8, 8)).allowed_ids(3), "say how many frames there are"),
        (lambda: Pattern.coarse_first((8, 8)).generator(), "say how many frames there are"),
        (lambda: Pattern.delay((8, 8), (0,)), "2 codebooks need as many delays"),
        (lambda: Pattern.delay(()), "at least one codebook"),
        (lambda: Pattern.delay((8, -1)), r"at least one codebook, of 1 code or more .*; got \[8, -1\]"),
        (lambda: Pattern.coarse_first((8, 8), 0), "from 1 to 2 of 2 codebooks can be coarse; got 0"),
        (lambda: Pattern.multi_stream({}), "streams needs at least one"),
        (lambda: Pattern.multi_stream({"a": 2}, {"b": 1}), r"delays of those alone; got \['a'\] and delays of b"),
        (lambda: Pattern.multi_stream({"a": (8, 8)}, {"a": (1,)}), "stream a has 2 codebooks; got 1 delays"),
    ]:
        with pytest.raises(ShapeError, match=message):
            call()


def test_a_number_of_codebooks_is_enough_to_arrange_them():
    codes = torch.arange(12).reshape(1, 4, 3)
    pattern = Pattern.delay(4)
    assert pattern.apply(codes)[0, 3].tolist() == [-1, -1, -1, -1, 9, 10, 11]
    assert torch.equal(pattern.revert(pattern.apply(codes)), codes)
    assert Pattern.delay(4, special=2048).special == (2048,) * 4


def test_stages_of_valle():
    pattern = Pattern.ar_nar((8, 6, 4))
    assert pattern.visible(2) == [0, 1]
    assert pattern.allowed_ids(3, frames=5) == [range(8), range(6, 7), range(4, 5)]
    assert pattern.allowed_ids(pattern.n_columns(5) + 1, frames=5) == [range(8, 9), range(6, 7), range(4)]
    assert pattern.loss_mask(5, stage=1).sum((0, 2)).tolist() == [0, 5, 0]
