"""Shards: every format gives back what went in, other programs read them, and what does not belong is refused."""

import json
from itertools import pairwise, product
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from toneme.codecs.errors import CheckpointError, TokenFileError
from toneme.codecs.registry import load
from toneme.codecs.spec import CodecSpec, StreamSpec
from toneme.lm import shard_formats
from toneme.lm.shard_formats import FORMATS, SUFFIXES, read_shard, write_shard
from toneme.lm.shard_item import About, Item
from toneme.lm.shard_plan import Done, ShardFolder
from toneme.lm.shards import _size, read_shards

from .made import make_codec

ABOUT = {
    "one": About("made", "0123", 24000, 1, (50.0,), ((1024,) * 4,)),
    "rates": About("made", "0123", 24000, 1, (12.5, 25.0, 50.0), ((4096,), (4096,), ())),
    "side": About("made", "0123", 48000, 2, (150.0,), ((1024,) * 2,), ("scale",), 150),
    "large": About("made", "0123", 16000, 1, (50.0,), ((100_000,),)),
    "sixteen": About("made", "0123", 16000, 1, (50.0,), ((65536,),)),
}


def make_items(about, count=5, seed=0):
    rng = np.random.default_rng(seed)
    items = []
    for i in range(count):
        frames = int(rng.integers(0, 9))
        streams = tuple(
            np.stack([rng.integers(0, size, frames * round(rate / about.frame_rates[0])) for size in sizes]).astype(about.dtype)
            if sizes
            else np.zeros((0, frames * round(rate / about.frame_rates[0])), about.dtype)
            for rate, sizes in zip(about.frame_rates, about.codebook_sizes, strict=True)
        )
        side = {name: rng.standard_normal(-(-frames // about.side_period)).astype(np.float32) for name in about.side}
        items.append(Item(f"ü/{i} \u3042.wav", f"{i:064x}", frames * 480, streams, side))
    return items


def assert_same(read, written):
    assert len(read) == len(written)
    for ours, theirs in zip(read, written, strict=True):
        assert (ours.path, ours.sha256, ours.n_samples) == (theirs.path, theirs.sha256, theirs.n_samples)
        for a, b in zip((*ours.streams, *ours.side.values()), (*theirs.streams, *theirs.side.values()), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ABOUT)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_what_is_written_is_read(tmp_path, suffix, name, count):
    items = make_items(ABOUT[name], count)
    for file in ("a", "b"):
        write_shard(tmp_path / f"{file}{suffix}", ABOUT[name], items)
    about, read = read_shard(tmp_path / f"a{suffix}")
    assert about == ABOUT[name]
    assert_same(read, items)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    for item in read:
        tokens = item.tokens(about)
        assert tokens.batch == 1
        assert tokens.metadata == {"path": item.path, "sha256": item.sha256}


@pytest.mark.parametrize("name", ABOUT)
def test_lists_of_many_codes_are_written_in_several_groups(tmp_path, name, monkeypatch):
    monkeypatch.setattr(shard_formats, "MOST_CODES", 12)
    items = make_items(ABOUT[name])
    write_shard(tmp_path / "a.parquet", ABOUT[name], items)
    file = pq.ParquetFile(tmp_path / "a.parquet")
    groups = [file.read_row_group(i).num_rows for i in range(file.num_row_groups)]
    assert len(groups) > 1
    sizes = [max(stream.size for stream in item.streams) for item in items]
    ends = np.cumsum([0, *groups])
    assert all(stop - start == 1 or sum(sizes[start:stop]) <= 12 for start, stop in pairwise(ends))
    assert_same(read_shard(tmp_path / "a.parquet")[1], items)


def make_folder(folder, suffix=".npz", shards=3, about=ABOUT["one"]):
    names = [item.path for item in make_items(about, shards)]
    planned = ShardFolder.plan(folder, about, suffix, [f"{i}{name}" for name in names for i in range(3)], 3)
    for number in range(shards):
        items = make_items(about, 3, seed=number)
        write_shard(planned.path(number), about, items, number)
        size = planned.path(number).stat().st_size
        planned.finish(Done(number, len(items), 1.5, size, [[planned.shards[1][0], "it is cut"]] if number == 1 else []))
    return planned


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_folder_is_a_list_and_an_iterable(tmp_path, suffix):
    make_folder(tmp_path, suffix)
    shards = read_shards(tmp_path, "made")
    assert len(shards) == 9
    expected = [item.tokens(ABOUT["one"]) for number in range(3) for item in make_items(ABOUT["one"], 3, seed=number)]
    for i, (ours, theirs) in enumerate(zip(shards, expected, strict=True)):
        assert torch.equal(ours.codes, theirs.codes)
        assert torch.equal(shards[i].codes, theirs.codes)
        assert torch.equal(shards[i - 9].codes, theirs.codes)
    assert shards.failures == [[shards.folder.shards[1][0], "it is cut"]]
    assert shards.seconds == 4.5
    with pytest.raises(IndexError, match="item 9 of 9"):
        shards[9]


def test_a_loader_of_pytorch_takes_both(tmp_path):
    make_folder(tmp_path)
    shards = read_shards(tmp_path)
    loader = torch.utils.data.DataLoader(shards, batch_size=None)
    assert [int(tokens.n_samples) for tokens in loader] == [int(tokens.n_samples) for tokens in shards]
    streamed = torch.utils.data.DataLoader(shards.stream(seed=1, epochs=2), batch_size=None)
    counts = [int(tokens.n_samples) for tokens in streamed]
    assert sorted(counts) == sorted(2 * [int(tokens.n_samples) for tokens in shards])
    again = [int(tokens.n_samples) for tokens in shards.stream(seed=1, epochs=2)]
    assert counts == again
    assert counts != [int(tokens.n_samples) for tokens in shards.stream(seed=2, epochs=2)]
    orders = [[int(tokens.metadata["sha256"], 16) for tokens in shards.stream(seed, epochs=1)] for seed in range(4)]
    assert any(order != [0, 1, 2] * 3 for order in orders)  # items within a shard are shuffled too


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_sampler_in_any_order_reads_each_shard_once(tmp_path, suffix, monkeypatch):
    shards, reads = read_shards(make_folder(tmp_path, suffix, shards=3).folder), []
    wanted = [tokens.codes.tolist() for tokens in read_shards(tmp_path)]
    monkeypatch.setattr("toneme.lm.shards.read_shard", lambda path: reads.append(path) or read_shard(path))
    order = [i for _ in range(3) for i in range(len(shards) - 1, -1, -1)] + list(range(0, len(shards), 4))
    assert [shards[i].codes.tolist() for i in order] == [wanted[i] for i in order]
    assert len(reads) == 3


def test_shards_beyond_the_memory_are_let_go_oldest_first(tmp_path, monkeypatch):
    shards, reads = read_shards(make_folder(tmp_path, shards=3).folder), []
    read, size = shards._read, _size(shards.items(0))
    monkeypatch.setattr("toneme.lm.shards.KEPT", 5 * size // 2)
    monkeypatch.setattr(shards, "_read", lambda number: reads.append(number) or read(number))
    for number in (0, 1, 0, 2, 0, 1, 2):
        assert [item.path for item in shards.items(number)] == [item.path for item in read(number)]
    assert reads == [1, 2, 1, 2]
    monkeypatch.setattr("toneme.lm.shards.KEPT", 0)  # the one that is asked for is always there
    assert [len(shards.items(number)) for number in (0, 1, 2)] == [3, 3, 3]
    assert list(shards._kept) == [2]


def test_a_loop_over_epochs_takes_another_order_in_each(tmp_path):
    make_folder(tmp_path)
    stream = read_shards(tmp_path).stream(seed=1, epochs=1)
    loader, passes = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1), []
    for epoch in range(2):
        stream.set_epoch(epoch)
        passes.append([int(tokens.n_samples) for tokens in loader])
    assert passes[0] != passes[1]
    assert [*passes[0], *passes[1]] == [int(tokens.n_samples) for tokens in read_shards(tmp_path).stream(seed=1, epochs=2)]


def test_workers_get_shards_of_their_own(tmp_path, monkeypatch):
    make_folder(tmp_path)
    stream, seen = read_shards(tmp_path).stream(epochs=1), []
    for part in range(2):
        monkeypatch.setattr(stream, "_part", lambda part=part: (part, 2))
        seen += [tokens.codes.sum().item() for tokens in stream]
    assert sorted(seen) == sorted(tokens.codes.sum().item() for tokens in read_shards(tmp_path))


def test_every_worker_of_every_rank_has_a_part_of_its_own(tmp_path, monkeypatch):
    make_folder(tmp_path)
    stream, parts = read_shards(tmp_path).stream(), []
    assert stream._part() == (0, 1)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    for rank, worker in product(range(3), range(2)):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        told = SimpleNamespace(id=worker, num_workers=2)
        monkeypatch.setattr("toneme.lm.shards.get_worker_info", lambda told=told: told)
        parts.append(stream._part())
    assert sorted(parts) == [(i, 6) for i in range(6)]


@pytest.mark.parametrize(("shards", "most"), [(1, 3), (2, 6), (1, 0)])
def test_more_workers_than_shards_share_the_items(tmp_path, monkeypatch, shards, most):
    """A worker without a part of its own would look for one forever."""
    make_folder(tmp_path, shards=shards)
    stream, seen = read_shards(tmp_path).stream(epochs=None if not most else 1), []
    monkeypatch.setattr(stream.shards, "_counts", [most])
    if not most:
        stream.shards.items = lambda number: []
        assert list(stream) == []
        return
    for part in range(7):
        monkeypatch.setattr(stream, "_part", lambda part=part: (part, 7))
        seen += [tokens.codes.sum().item() for tokens in stream]
    assert sorted(seen) == sorted(tokens.codes.sum().item() for tokens in read_shards(tmp_path))


@pytest.mark.parametrize("suffix", [".parquet", ".tar"])
def test_hugging_face_datasets_reads_a_folder(tmp_path, suffix):
    """Beside shards without a recording, and beside the files that say which shards are done."""
    datasets = pytest.importorskip("datasets", reason="pip install toneme[lm]")
    folder = make_folder(tmp_path / "shards", suffix)
    write_shard(folder.path(1), ABOUT["one"], [], 1)
    folder.finish(Done(1, 0, 0.0, folder.path(1).stat().st_size, []))
    found = datasets.load_dataset(str(tmp_path / "shards"), cache_dir=str(tmp_path / "cache"), split="train")
    items = [item for number in (0, 2) for item in make_items(ABOUT["one"], 3, seed=number)]
    told = found["path"] if suffix == ".parquet" else [row["path"] for row in found["json"]]
    assert list(told) == [item.path for item in items]
    codes = found["codes" if suffix == ".parquet" else "codes.npy"]
    assert [np.asarray(own).tolist() for own in codes] == [item.streams[0].tolist() for item in items]


def test_a_card_that_somebody_wrote_is_left_alone(tmp_path):
    make_folder(tmp_path, ".parquet")
    assert 'data_files: "*.parquet"' in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("mine")
    make_folder(tmp_path, ".parquet", shards=4)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_hugging_face_datasets_reads_parquet(tmp_path):
    datasets = pytest.importorskip("datasets", reason="pip install toneme[lm]")
    items = make_items(ABOUT["one"])
    write_shard(tmp_path / "shard-000000.parquet", ABOUT["one"], items)
    found = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "*.parquet"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert found.column_names == [
        "path", "sha256", "codec", "weights_hash", "sample_rate", "frame_rate", "n_samples", "seconds", "codes",
    ]  # fmt: skip
    for row, item in zip(found, items, strict=True):
        assert (row["path"], row["codec"], row["weights_hash"], row["frame_rate"]) == (item.path, "made", "0123", 50.0)
        assert (row["n_samples"], row["sample_rate"], row["seconds"]) == (item.n_samples, 24000, item.n_samples / 24000)
        assert row["codes"] == item.streams[0].tolist()


@pytest.mark.parametrize("name", ["one", "rates"])
def test_webdataset_reads_tars(tmp_path, name):
    webdataset = pytest.importorskip("webdataset", reason="pip install toneme[lm]")
    items = make_items(ABOUT[name])
    write_shard(tmp_path / "shard-000000.tar", ABOUT[name], items, 7)
    samples = list(webdataset.WebDataset(str(tmp_path / "shard-000000.tar"), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == [f"000007{i:06d}" for i in range(5)]
    for sample, item in zip(samples, items, strict=True):
        assert (sample["json"]["path"], sample["json"]["frame_rate"]) == (item.path, 50.0)
        np.testing.assert_array_equal(sample["codes.npy" if name == "one" else "codes_0.npy"], item.streams[0])


# -- refusals ---------------------------------------------------------------------------------------------------


def test_another_codec_or_other_weights_are_refused(tmp_path):
    make_folder(tmp_path)

    class Other:
        name, weights_hash = "made", "4567"

    with pytest.raises(
        CheckpointError, match=r"holds tokens of made with weights 0123; got made with weights 4567: use the codec"
    ):
        read_shards(tmp_path, Other())
    with pytest.raises(CheckpointError, match="got mimi: use the codec that made them"):
        read_shards(tmp_path, "mimi")


def test_a_codec_may_be_named_as_it_is_loaded(tmp_path):
    make_codec(tmp_path / "tiny")
    codec = load(tmp_path / "tiny")
    make_folder(tmp_path / "shards", about=About.of(codec, 4))
    for name in ("tiny", str(tmp_path / "tiny"), codec):
        assert len(read_shards(tmp_path / "shards", name)) == 9
    make_codec(tmp_path / "tiny", seed=1)
    with pytest.raises(CheckpointError, match="got tiny with weights"):
        read_shards(tmp_path / "shards", str(tmp_path / "tiny"))


def test_a_shard_from_elsewhere_is_refused(tmp_path):
    folder = make_folder(tmp_path)
    about = About("made", "4567", 24000, 1, (50.0,), ((1024,) * 4,))
    write_shard(folder.path(1), about, make_items(about, 3))
    folder.finish(Done(1, 3, 1.0, folder.path(1).stat().st_size, []))
    with pytest.raises(
        CheckpointError, match=r"shard-000001.*4 codebooks of made with weights 4567, and the folder's shards 4 codebooks of"
    ):
        list(read_shards(tmp_path))


def test_missing_shards_are_refused_unless_partial(tmp_path):
    folder = make_folder(tmp_path)
    folder.path(1).with_suffix(".json").unlink()
    with pytest.raises(TokenFileError, match="lacks 1 of 3 shards, which `codec tokenize` did not finish"):
        read_shards(tmp_path)
    partial = read_shards(tmp_path, partial=True)
    assert len(partial) == len(list(partial)) == 6
    folder.path(0).write_bytes(b"")
    assert len(read_shards(tmp_path, partial=True)) == 3


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_is_told(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_shard(path, ABOUT["one"], make_items(ABOUT["one"]))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"nonsense" * 100, b"\0" * 2048):
        path.write_bytes(damaged)
        with pytest.raises(TokenFileError, match=r"a\.\w+ is damaged or no|does not say what its tokens are"):
            read_shard(path)
    with pytest.raises(TokenFileError, match="is no shard of tokens: shards end in"):
        read_shard(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"about": {}, "suffix": ".npz"}', '{"about": {"toneme_shards": 9}, "suffix": ""}']
)
def test_other_folders_are_refused(tmp_path, text):
    with pytest.raises(TokenFileError, match="is no folder of shards"):
        read_shards(tmp_path / "none")
    (tmp_path / "shards.json").write_text(text)
    (tmp_path / "plan.jsonl").write_text("[]\n")
    with pytest.raises(TokenFileError, match=r"no folder of shards|does not say what its tokens are|another version of shards"):
        read_shards(tmp_path)


def test_streams_beyond_the_depth_hold_nothing():
    streams = tuple(StreamSpec(hop, sizes) for hop, sizes in ((640, (64,)), (320, (64, 32)), (160, (64,))))
    codec = SimpleNamespace(name="made", weights_hash="0123", spec=CodecSpec(16000, 1, streams, causal=False))
    assert About.of(codec, 1).codebook_sizes == ((64,), (), ())
    assert About.of(codec, 2).codebook_sizes == ((64,), (64,), ())
    assert About.of(codec, 4).codebook_sizes == ((64,), (64, 32), (64,))


def test_what_is_common_comes_back_from_json():
    for about in ABOUT.values():
        assert About.from_json(about.to_json(), "it") == about
        assert json.loads(about.to_json())["toneme_shards"] == 1
    assert SUFFIXES == {"parquet": ".parquet", "webdataset": ".tar", "npz": ".npz"}
