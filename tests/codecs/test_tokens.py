"""`Tokens`: slicing in batch, time and depth, conversions, and what each refuses."""

import copy
import io
import pickle
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.codecs.tokens import Tokens

from .tokensets import assert_same, make_tokens


@pytest.fixture
def levels() -> Tokens:
    """SNAC-like tokens: three rates."""
    return make_tokens(40, sizes=((4096,), (4096,), (4096, 64)), ratios=(1, 2, 4), rate=12.5)


@pytest.fixture
def batch() -> Tokens:
    """Three items of 50, 20 and 0 frames."""
    tokens = make_tokens(50, batch=3)
    beyond = torch.arange(50) >= torch.tensor([50, 20, 0])[:, None]
    codes = tokens.codes.masked_fill(beyond[:, None], 0)
    return replace(tokens, streams=(codes,), lengths=torch.tensor([[50], [20], [0]]), n_samples=torch.tensor([24000, 9500, 0]))


def test_what_it_says(batch, levels):
    assert (batch.depth, batch.batch, len(batch), batch.frame_rate) == (8, 3, 3, 50.0)
    assert batch.seconds.tolist() == pytest.approx([1.0, 9500 / 24000, 0.0])
    assert (levels.depth, levels.frame_rate) == (4, 50.0)
    assert repr(batch).startswith("Tokens(made, codes [3, 8, 50], 50 Hz, [1.00, 0.40, 0.00] s")
    assert "..." in repr(make_tokens(2, batch=9))


def test_several_streams_have_no_single_codes(levels):
    with pytest.raises(ShapeError, match=r"3 streams of different rates: read \.streams"):
        _ = levels.codes


def test_an_item_is_cut_to_its_own_frames(batch):
    items = (batch[0], batch[1], batch[2], batch[-1], batch[-3])
    assert [item.codes.shape for item in items] == [(1, 8, n) for n in (50, 20, 0, 0, 50)]
    assert torch.equal(batch[1].codes[0], batch.codes[1, :, :20])
    assert batch[1].n_samples.tolist() == [9500]
    assert batch[1:].codes.shape == (2, 8, 20)
    assert len(batch[3:]) == 0
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"item {index} of a batch of 3"):
            _ = batch[index]


def test_numbers_of_any_type_choose_an_item(batch):
    for index in (np.int64(1), torch.tensor(1), torch.tensor(-2)):
        assert torch.equal(batch[index].codes, batch[1].codes)
    with pytest.raises(IndexError, match="item 3 of a batch of 3"):
        _ = batch[np.int64(3)]


def test_a_copy_has_memory_of_its_own(batch):
    before, copy = batch.codes.clone(), batch.clone()
    for values in (*copy.streams, copy.lengths, copy.n_samples):
        values.zero_()
    assert torch.equal(batch.codes, before)
    assert batch.n_samples.tolist() == [24000, 9500, 0]


@pytest.mark.parametrize("wrong", [2.0, "2", None])
def test_depths_and_frames_are_whole_numbers(batch, wrong):
    with pytest.raises(ShapeError, match="must be a whole number"):
        batch.with_depth(wrong)
    with pytest.raises(ShapeError, match="must be a whole number"):
        batch.frames(0, wrong)


def test_metadata_are_strings(batch):
    assert batch.with_metadata(speaker="7").metadata["speaker"] == "7"
    with pytest.raises(ShapeError, match="got 7 for speaker"):
        batch.with_metadata(speaker=7)


def test_iteration_ends(batch):
    assert [int(item.n_samples) for item in batch] == [24000, 9500, 0]


def test_side_numbers_follow_their_item():
    tokens = replace(
        make_tokens(20, batch=2, side_period=10),
        lengths=torch.tensor([[20], [10]]),
        side={"scale": torch.tensor([[0.5, 0.25, 0.125], [2.0, 0.0, 0.0]])},
    )
    assert tokens[0].side["scale"].tolist() == [[0.5, 0.25, 0.125]]  # a third segment, shorter than the period
    assert tokens[1].side["scale"].tolist() == [[2.0]]
    assert tokens[:].side["scale"].tolist() == tokens.side["scale"].tolist()


def test_depth(levels):
    assert [codes.shape[1] for codes in levels.with_depth(2).streams] == [1, 1, 0]
    assert levels.with_depth(3).codebook_sizes == ((4096,), (4096,), (4096,))
    assert torch.equal(levels.with_depth(3).streams[2], levels.streams[2][:, :1])
    assert_same(levels.with_depth(4), levels)
    batch = make_tokens(4, sizes=((8, 8), (8, 8)), ratios=(1, 2), batch=3)
    assert [[codes.shape[1] for codes in batch.with_depth(n).streams] for n in (1, 2, 3)] == [[1, 0], [2, 0], [2, 1]]
    for depth in (0, 5):
        with pytest.raises(ShapeError, match=f"hold 4 codebooks; got {depth}"):
            levels.with_depth(depth)


def test_frames_cut_every_stream_at_one_instant(levels):
    part = levels.frames(10, 25)
    assert [codes.shape[2] for codes in part.streams] == [15, 30, 60]
    assert torch.equal(part.streams[2], levels.streams[2][..., 40:100])
    assert part.lengths.tolist() == [[15, 30, 60]]
    assert part.n_samples.tolist() == [15 * 1920]
    shorter = replace(levels, lengths=torch.tensor([[20, 40, 80]]))
    assert shorter.frames(10, 40).lengths.tolist() == [[10, 20, 40]]
    with pytest.raises(ShapeError, match="range within 0 to 40; got 0 to 41"):
        levels.frames(0, 41)


def test_frames_of_a_batch_keep_to_the_lengths(batch):
    part = batch.frames(10, 30)
    assert part.lengths.tolist() == [[20], [10], [0]]
    assert part.n_samples.tolist() == [20 * 480, 9500 - 10 * 480, 0]


def test_pieces_join_to_the_whole():
    tokens = make_tokens(45, side_period=10)
    pieces = [tokens.frames(start, min(45, start + 20)) for start in range(0, 45, 20)]
    assert torch.equal(torch.cat([piece.codes for piece in pieces], 2), tokens.codes)
    assert torch.equal(torch.cat([piece.side["scale"] for piece in pieces], 1), tokens.side["scale"])
    assert sum(int(piece.n_samples) for piece in pieces) == int(tokens.n_samples)


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, 46)])
def test_frames_outside_are_refused(start, stop):
    with pytest.raises(ShapeError, match="range within 0 to 45"):
        make_tokens(45).frames(start, stop)


def test_frames_within_a_segment_are_refused():
    with pytest.raises(ShapeError, match="multiples of 10 frames only; got 5"):
        make_tokens(45, side_period=10).frames(5, 20)


def test_numpy_and_devices(levels):
    assert isinstance(make_tokens(3).numpy(), np.ndarray)
    arrays = levels.numpy()
    assert [array.dtype for array in arrays] == [np.int64] * 3
    moved = make_tokens(3, side_period=1).to("meta")
    assert {t.device.type for t in (*moved.streams, moved.lengths, moved.n_samples, *moved.side.values())} == {"meta"}


def test_metadata_is_added_to():
    tokens = make_tokens(3).with_metadata(album="b")
    assert tokens.metadata == {"artist": "made", "title": "Prüfung", "album": "b"}


def test_an_item_can_be_saved(batch, tmp_path):
    from toneme.codecs.formats import read_tokens

    batch[1].save(tmp_path / "made.tok")
    assert_same(read_tokens(tmp_path / "made.tok"), batch[1])


def test_other_processes_get_equal_tokens_in_memory_of_their_own(batch, levels):
    segmented = replace(batch, side={"scale": torch.rand(3, 2)}, side_period=30, metadata={"path": "a.wav"})
    for tokens in (batch, levels, segmented, batch[1], batch[:0]):
        for again in (pickle.loads(pickle.dumps(tokens)), copy.deepcopy(tokens)):
            assert type(again) is Tokens
            assert_same(again, tokens)
            again.streams[0].fill_(3)
            assert again.streams[0].is_inference() is False
    assert bool((batch.codes != 3).any())


def test_other_processes_get_what_numpy_has_nothing_like(batch):
    side = {"scale": torch.rand(3, 2).bfloat16(), "learnt": torch.rand(3, 2, requires_grad=True)}
    again = pickle.loads(pickle.dumps(replace(batch, side=side)))
    assert torch.equal(again.side["scale"], side["scale"])
    assert torch.equal(again.side["learnt"], side["learnt"])


def test_no_file_of_shared_memory_is_made_for_each_tensor_that_a_worker_sends(batch):
    sent = io.BytesIO()
    ForkingPickler(sent, pickle.HIGHEST_PROTOCOL).dump(batch)  # as the queues of a DataLoader do
    assert b"rebuild_storage" not in sent.getvalue()
    assert len(sent.getvalue()) < batch.codes.numel() * 8 + 2000
