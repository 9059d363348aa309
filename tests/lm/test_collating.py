"""Batches of tokens: padded, masked, with lengths, the same from any number of a DataLoader's workers."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from toneme.codecs.errors import ShapeError
from toneme.lm.collating import collate
from toneme.lm.shard_formats import SUFFIXES, write_shard
from toneme.lm.shard_item import About, Item
from toneme.lm.shard_plan import Done, ShardFolder
from toneme.lm.shards import TokenShards, read_shards

from .test_shards import ABOUT, make_items


def make_shards(folder: Path, about: About, items: list[Item], size: int, kind: str = "npz") -> TokenShards:
    """Write items into shards of a size."""
    there = ShardFolder.plan(folder, about, SUFFIXES[kind], [item.path for item in items], size)
    for number in range(len(there.shards)):
        own = items[number * size : (number + 1) * size]
        write_shard(there.path(number), about, own, number)
        there.finish(Done(number, len(own), 1.0, there.path(number).stat().st_size, []))
    return read_shards(folder)


@pytest.mark.parametrize("padding", [0, -100, 1024])
def test_items_are_padded_masked_and_counted(padding):
    items = [item.tokens(ABOUT["one"]) for item in make_items(ABOUT["one"], 6)]
    batch = collate(items, padding)
    lengths = [item.codes.shape[-1] for item in items]
    assert batch["lengths"].tolist() == lengths
    assert batch["codes"].shape == (6, 4, max(lengths))
    assert batch["codes"].dtype == torch.int64
    assert batch["attention_mask"].tolist() == [[place < n for place in range(max(lengths))] for n in lengths]
    for row, item, n in zip(batch["codes"], items, lengths, strict=True):
        assert torch.equal(row[:, :n], item.codes[0])
        assert bool((row[:, n:] == padding).all())


def test_streams_of_several_rates_are_batches_of_their_own():
    items = [item.tokens(ABOUT["rates"]) for item in make_items(ABOUT["rates"], 4)]
    batch = collate(items)
    assert [codes.shape[:2] for codes in batch["codes"]] == [(4, 1), (4, 1), (4, 0)]
    for stream in range(3):
        assert batch["lengths"][stream].tolist() == [item.streams[stream].shape[-1] for item in items]
        assert batch["attention_mask"][stream].sum(1).tolist() == batch["lengths"][stream].tolist()
        for row, item in zip(batch["codes"][stream], items, strict=True):
            assert torch.equal(row[:, : item.streams[stream].shape[-1]], item.streams[stream][0])


def test_batches_are_joined_and_nothing_is_no_frames():
    one = make_items(ABOUT["one"], 1)[0]
    empty = Item("x", "", 0, (np.zeros((4, 0), np.uint16),)).tokens(ABOUT["one"])
    assert collate([empty])["codes"].shape == (1, 4, 0)
    batch = collate([one.tokens(ABOUT["one"]), empty])
    assert (
        collate([one.tokens(ABOUT["one"])[:0], one.tokens(ABOUT["one"]), empty])["lengths"].tolist()
        == batch["lengths"].tolist()
    )


def test_what_does_not_belong_together_is_refused():
    items = {name: make_items(ABOUT[name], 1)[0].tokens(ABOUT[name]) for name in ("one", "large")}
    with pytest.raises(ShapeError, match="got none"):
        collate([])
    with pytest.raises(ShapeError, match="got 1 codebooks of made with weights 0123 and 4 codebooks of made with weights 0123"):
        collate(list(items.values()))
    with pytest.raises(ShapeError, match="one codec, its weights and as many codebooks"):
        collate([items["one"], items["one"].with_depth(2)])


@pytest.mark.parametrize("name", ["one", "rates", "side"])
@pytest.mark.parametrize("kind", SUFFIXES)
def test_lengths_are_those_of_the_items(tmp_path, name, kind):
    items = make_items(ABOUT[name], 11)
    shards = make_shards(tmp_path, ABOUT[name], items, 4, kind)
    assert shards.lengths == [tokens.streams[0].shape[-1] for tokens in shards] == [item.streams[0].shape[-1] for item in items]
    assert len(set(shards.lengths)) > 3
    assert shards.items(0)
    assert len(shards._kept) == 3  # by the list above; a fresh reader needs no items
    fresh = read_shards(tmp_path)
    assert fresh.lengths == shards.lengths
    assert not fresh._kept


def test_workers_that_are_spawned_are_not_sent_what_was_read(tmp_path):
    shards = make_shards(tmp_path, ABOUT["one"], make_items(ABOUT["one"], 40), 20)
    before = len(pickle.dumps(shards))
    held = list(shards)
    again = pickle.loads(pickle.dumps(shards))
    assert len(pickle.dumps(shards)) == before
    assert shards._kept
    for ours, theirs in zip(again, held, strict=True):
        assert torch.equal(ours.codes, theirs.codes)


def loaded(shards, workers, **options):
    return list(DataLoader(shards, num_workers=workers, collate_fn=collate, **options))


@pytest.mark.parametrize("kind", SUFFIXES)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_of_like_lengths_come_from_any_number_of_workers(tmp_path, workers, kind):
    shards = make_shards(tmp_path, ABOUT["one"], make_items(ABOUT["one"], 20), 6, kind)
    order = sorted(range(20), key=lambda i: shards.lengths[i])
    parts = [order[i : i + 5] for i in range(0, 20, 5)]
    batches = loaded(shards, workers, batch_sampler=parts)
    assert [batch["lengths"].tolist() for batch in batches] == [[shards.lengths[i] for i in part] for part in parts]
    for batch, part in zip(batches, parts, strict=True):
        for row, mask, i in zip(batch["codes"], batch["attention_mask"], part, strict=True):
            assert torch.equal(row[:, mask], shards[i].codes[0])
    in_order = loaded(shards, workers, batch_size=5)
    padded = [sum(batch["attention_mask"].numel() for batch in found) for found in (batches, in_order)]
    assert padded[0] < padded[1]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than processors, and than shards
@pytest.mark.parametrize("workers", [0, 2, 5])
def test_a_stream_in_batches_gives_each_item_once(tmp_path, workers):
    items = make_items(ABOUT["one"], 20)
    shards = make_shards(tmp_path, ABOUT["one"], items, 6)
    found = [
        row[:, mask].tolist()
        for batch in loaded(shards.stream(epochs=1), workers, batch_size=3)
        for row, mask in zip(batch["codes"], batch["attention_mask"], strict=True)
    ]
    assert sorted(found) == sorted(item.streams[0].tolist() for item in items)
