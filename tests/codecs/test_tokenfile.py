"""The token file: round trips, pieces, seeking, sizes, damage at every byte, and the errors that name it."""

import errno
import io
import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toneme.codecs import tokenfile_writer
from toneme.codecs.errors import ShapeError, TokenFileError
from toneme.codecs.tokenfile import TokenReader, TokenWriter, read_tok, write_tok
from toneme.codecs.tokenfile_bytes import Fields, Source, varint
from toneme.codecs.tokens import Tokens

from . import plain_reader
from .tokensets import assert_same, make_tokens, token_sets

SPECIFICATION = Path(tokenfile_writer.__file__).with_name("TOKENFILE.md")


def to_bytes(tokens: Tokens, **options) -> bytes:
    file = io.BytesIO()
    write_tok(tokens, file, **options)
    return file.getvalue()


def frames_in(data: bytes) -> int:
    return TokenReader(io.BytesIO(data), salvage=True).read().codes.shape[2]


class Pipe(io.RawIOBase):
    """Bytes that cannot be sought, given out a few at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 7) if size >= 0 else size)


# -- round trips ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(token_sets(), st.sampled_from(["packed", "entropy"]), st.sampled_from([None, 0.2, 1.0]))
def test_any_tokens_come_back_bit_by_bit(tokens, encoding, chunk_seconds):
    data = to_bytes(tokens, encoding=encoding, chunk_seconds=chunk_seconds)
    assert_same(read_tok(io.BytesIO(data)), tokens)
    assert_same(read_tok(Pipe(data)), tokens)
    assert TokenReader(io.BytesIO(data)).verify().damage is None


@settings(max_examples=40, deadline=None)
@given(token_sets(), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_pieces_of_any_length_make_the_same_file(tokens, cuts, flush):
    frames = min(codes.shape[2] for codes in tokens.streams)
    step = max(1, tokens.side_period)
    edges = sorted({0, frames, *(min(cut * step, frames) for cut in cuts)})
    file = io.BytesIO()
    with TokenWriter(file, like=tokens) as writer:
        for start, stop in itertools.pairwise(edges):
            writer.write(tokens.frames(start, stop))
            if flush:
                writer.flush()
    assert_same(read_tok(io.BytesIO(file.getvalue())), tokens)


def test_pieces_of_a_stream_count_their_samples_at_the_end():
    tokens = make_tokens(120)
    first, rest = tokens.frames(0, 50), tokens.frames(50, 120)
    zero = torch.zeros(1, dtype=torch.int64)
    file = io.BytesIO()
    with TokenWriter(file) as writer:
        writer.write(replace(first, n_samples=zero))
        writer.write(replace(rest, n_samples=tokens.n_samples))
    assert_same(read_tok(io.BytesIO(file.getvalue())), tokens)
    file = io.BytesIO()
    with TokenWriter(file) as writer:
        writer.write(tokens)
        writer.close(int(tokens.n_samples) - 7)
    assert_same(read_tok(io.BytesIO(file.getvalue())), replace(tokens, n_samples=tokens.n_samples - 7))


def test_segments_shorter_than_the_period_keep_their_numbers():
    """EnCodec at 48 kHz: 95,120 samples are segments of 150, 149 and 1 frames, each with its scale."""
    tokens = make_tokens(300, sizes=((1024,) * 4,), rate=150.0, side_period=150)
    tokens = replace(tokens, side={"scale": torch.tensor([[0.5, 0.25, 0.125]])})
    for chunk_seconds in (1.0, 2.0, 9.0):
        assert_same(read_tok(io.BytesIO(to_bytes(tokens, chunk_seconds=chunk_seconds))), tokens)
    file = io.BytesIO()
    with TokenWriter(file, chunk_seconds=1.0) as writer:
        writer.write(tokens.frames(0, 150))
        writer.flush()
        writer.write(tokens.frames(150, 300))
        writer.flush()
    assert_same(read_tok(io.BytesIO(file.getvalue())), tokens)


@pytest.mark.parametrize(
    ("frames", "sizes"), [(140_000, ((2,),)), (70_000, ((2,) * 32,)), (20_000, ((2,), (2,)))], ids=["frames", "codes", "rates"]
)
def test_chunks_keep_to_the_formats_limits_however_long_they_are_asked_for(frames, sizes):
    tokens = make_tokens(frames, sizes=sizes, ratios=(1, 8)[: len(sizes)])
    data = to_bytes(tokens, chunk_seconds=1e9, encoding="packed")
    assert TokenReader(io.BytesIO(data)).verify().packed == 3
    assert_same(read_tok(io.BytesIO(data)), tokens)


def test_an_empty_file_of_a_known_codec():
    tokens = make_tokens(0)
    assert_same(read_tok(io.BytesIO(to_bytes(tokens))), tokens)


@pytest.mark.parametrize("number", [0, 127, 128, 255, 256, 16383, 16384, 2**63 - 1])
def test_numbers_come_back_at_the_edges_of_their_bytes(number):
    data = varint(number)
    assert len(data) == max(1, -(-number.bit_length() // 7))
    assert Fields(data, 0, "record").number() == number
    assert Source(io.BytesIO(data)).number(number, "record", "a number") == number
    for refused in (data, b"\x80" * 9):
        with pytest.raises(TokenFileError, match="a number must be at most"):
            Source(io.BytesIO(refused)).number(number - 1, "record", "a number")


def test_codebooks_beyond_sixteen_bits_are_packed():
    tokens = make_tokens(50, sizes=((1 << 18, 1000),), repeat=0.9)
    data = to_bytes(tokens)
    assert_same(read_tok(io.BytesIO(data)), tokens)
    assert TokenReader(io.BytesIO(data)).verify().entropy == 0


# -- reading in pieces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "ratios", "period"), [(((1024,) * 8,), (1,), 0), (((4096,),) * 3, (1, 2, 4), 0), (((64,),), (1,), 30)]
)
def test_pieces_join_to_the_whole_and_seeking_starts_anywhere(sizes, ratios, period):
    tokens = make_tokens(400, sizes=sizes, ratios=ratios, side_period=period)
    data = to_bytes(tokens, chunk_seconds=1.1)
    pieces = list(TokenReader(io.BytesIO(data)))
    assert len(pieces) > 4
    assert sum(int(piece.n_samples) for piece in pieces) == int(tokens.n_samples)
    begun = TokenReader(io.BytesIO(data))
    assert_same(pieces[0], begun.next())
    assert_same(begun.read(), tokens.frames(pieces[0].streams[0].shape[2], 400))
    for kind in (io.BytesIO, Pipe):
        for seconds in (0.0, 1.0, 3.333, 7.99):
            reader = TokenReader(kind(data))
            at = reader.seek(seconds)
            frame = round(at * 50)
            assert frame <= seconds * 50 < frame + max(1, period)
            assert_same(reader.read(), tokens.frames(frame, 400))


def test_seeking_back_and_beyond_the_end():
    tokens = make_tokens(400)
    reader = TokenReader(io.BytesIO(to_bytes(tokens)))
    assert reader.seek(99) == 99.0
    assert reader.read().streams[0].shape[2] == 0
    assert reader.seek(2) == 2.0
    assert_same(reader.read(), tokens.frames(100, 400))
    pipe = TokenReader(Pipe(to_bytes(tokens, chunk_seconds=1)))
    pipe.next()
    with pytest.raises(TokenFileError, match="cannot go back"):
        pipe.seek(0)


def test_seeking_behind_a_table_finds_it():
    tokens = make_tokens(20000, sizes=((64,) * 4,), skew=6.0)
    data = to_bytes(tokens)
    reader = TokenReader(io.BytesIO(data))
    assert reader.verify().tables == 1
    reader.seek(300)
    assert_same(reader.read(), tokens.frames(15000, 20000))


def test_a_stream_learns_tables_as_it_goes():
    tokens = make_tokens(20000, sizes=((256,) * 4,), skew=6.0)
    file = io.BytesIO()
    with TokenWriter(file) as writer:
        for start in range(0, 20000, 500):
            writer.write(tokens.frames(start, start + 500))
    report = TokenReader(io.BytesIO(file.getvalue())).verify()
    assert report.tables >= 1
    assert report.entropy > report.packed
    assert len(file.getvalue()) < 20000 * 4 * 0.9
    assert_same(read_tok(io.BytesIO(file.getvalue())), tokens)


def test_a_reader_of_a_pipe_learns_the_samples_at_the_end():
    tokens = make_tokens(100)
    file = io.BytesIO()
    with TokenWriter(file) as writer:
        writer.write(tokens)
    reader = TokenReader(Pipe(file.getvalue()))
    assert reader.header.n_samples is None
    list(reader)
    assert reader.next() is None
    assert reader.header.n_samples == int(tokens.n_samples)
    assert TokenReader(io.BytesIO(file.getvalue())).header.n_samples == int(tokens.n_samples)


def test_a_live_stream_can_be_read_before_it_ends():
    tokens = make_tokens(200)
    file = io.BytesIO()
    writer = TokenWriter(file, chunk_seconds=1)
    writer.write(tokens.frames(0, 70))
    writer.flush()
    reader = TokenReader(Pipe(file.getvalue()), salvage=True)
    assert torch.equal(reader.read().codes, tokens.codes[..., :70])
    assert reader.damage
    assert "still being written" in reader.damage
    writer.abort()


def test_each_chunk_leaves_as_soon_as_it_is_full():
    """As on a pipe, whose file object keeps back what is not flushed."""
    tokens, out = make_tokens(200), io.BytesIO()
    writer = TokenWriter(io.BufferedWriter(out, 1 << 20), chunk_seconds=1)
    for start, there in ((0, 0), (40, 50), (80, 100), (120, 150)):
        writer.write(tokens.frames(start, start + 40))
        assert frames_in(out.getvalue()) == there
    writer.abort()


# -- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [30, 60, 600])
def test_size_of_codes_that_nothing_can_be_learnt_from(seconds):
    """The worst case, from 30 s on: at most 1 % over bit-packed, at least 35 % under uint16."""
    tokens = replace(make_tokens(seconds * 50), metadata={})
    size, codes = len(to_bytes(tokens)), tokens.codes.numel()
    assert size <= codes * 10 / 8 * 1.01
    assert size <= codes * 2 * 0.65


def test_repeats_and_skew_are_exploited():
    assert len(to_bytes(make_tokens(3000, repeat=0.5))) < 0.65 * 3000 * 10
    assert len(to_bytes(make_tokens(30000, sizes=((1024,) * 2,), skew=3.0))) < 0.93 * 30000 * 2 * 10 / 8
    assert len(to_bytes(make_tokens(30000, sizes=((6561,),)))) < 0.985 * 30000 * 13 / 8


# -- writing --------------------------------------------------------------------------------------------------------


def test_a_path_appears_only_when_the_file_is_whole(tmp_path):
    tokens, path = make_tokens(300), tmp_path / "made.tok"

    def interrupted() -> None:
        with TokenWriter(path) as writer:
            writer.write(tokens)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with TokenWriter(path) as writer:
        writer.write(tokens)
        assert not path.exists()
    assert_same(read_tok(path), tokens)
    assert [file.name for file in tmp_path.iterdir()] == ["made.tok"]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(TokenFileError, match="cannot be written"):
        write_tok(make_tokens(10), tmp_path / "missing" / "made.tok")


def test_a_full_disk_is_one_sentence():
    class Full(io.BytesIO):
        def write(self, data) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TokenFileError, match="No space left on device"):
        write_tok(make_tokens(10), Full())


def test_wrong_pieces_are_refused():
    tokens = make_tokens(50)
    writer = TokenWriter(io.BytesIO(), like=tokens)
    with pytest.raises(ShapeError, match="began with"):
        writer.write(make_tokens(50, sizes=((1024,) * 4,)))
    with pytest.raises(ShapeError, match="one item"):
        writer.write(make_tokens(50, batch=2))
    for code in (-1, 1024):
        wrong = tokens.codes.clone()
        wrong[0, 7, 49] = code
        with pytest.raises(ShapeError, match="from 0 to 1023"):
            writer.write(replace(tokens, streams=(wrong,)))
    made, other = make_tokens(50, side_period=10), TokenWriter(io.BytesIO())
    with pytest.raises(ShapeError, match="one side number per segment"):
        other.write(replace(made, side={"scale": torch.ones(1, 2)}))
    writer.close()
    with pytest.raises(TokenFileError, match="was closed"):
        writer.write(tokens)
    with pytest.raises(TokenFileError, match="no header yet"), TokenWriter(io.BytesIO()):
        pass


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan, 1e10])
def test_frame_rates_that_the_format_cannot_hold(rate):
    with pytest.raises(TokenFileError, match="a frame rate must be from 1e-6 to 1e9 Hz"):
        to_bytes(replace(make_tokens(10), frame_rates=(rate,)))


def test_metadata_that_the_format_cannot_hold():
    with pytest.raises(TokenFileError, match="metadata value must be from 0 to 65536"):
        to_bytes(make_tokens(10).with_metadata(novel="x" * 100_000))


# -- the specification ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", [0, 1])
def test_the_worked_examples_of_the_specification(example):
    blocks = re.findall(r"```hex\n(.*?)```", SPECIFICATION.read_text(), re.DOTALL)
    lines = [line.split("#")[0] for line in blocks[example].splitlines()]
    data = bytes.fromhex("".join(lines))
    if example == 0:
        tokens = _example(((0, 1, 2, 3), (1023, 512, 1, 0)), sizes=((1024, 1024),))
    else:
        tokens = _example(((2,) * 3 + (0,) * 37,), sizes=((3,),))
    assert data == to_bytes(tokens)
    assert_same(read_tok(io.BytesIO(data)), tokens)


@pytest.mark.parametrize(
    "tokens",
    [
        make_tokens(130, sizes=((1024,) * 2,)),
        make_tokens(100, sizes=((1000, 3),), repeat=0.9),
        make_tokens(40, sizes=((64,), (), (64, 1)), ratios=(1, 2, 4), rate=12.5),
        make_tokens(60, sizes=((16,),), side_period=7),
        make_tokens(900, sizes=((15,) * 2,), skew=8.0, repeat=0.2),
        make_tokens(0),
    ],
    ids=["packed", "repeats", "streams", "side", "tables", "empty"],
)
def test_a_reader_made_from_the_specification_alone(tokens):
    read = plain_reader.read(to_bytes(tokens, chunk_seconds=1.5))
    fields = ("codec", "weights_hash", "sample_rate", "channels", "side_period", "metadata", "n_samples")
    assert [read[name] for name in fields] == [*(getattr(tokens, name) for name in fields[:-1]), int(tokens.n_samples)]
    assert tuple(rate for rate, _ in read["layout"]) == tokens.frame_rates
    assert tuple(tuple(sizes) for _, sizes in read["layout"]) == tokens.codebook_sizes
    assert read["streams"] == [codes[0].tolist() for codes in tokens.streams]
    assert read["side"] == {name: values[0].tolist() for name, values in tokens.side.items()}


def _example(rows, sizes) -> Tokens:
    codes = torch.tensor([rows])
    frames = codes.shape[2]
    return Tokens(
        (codes,),
        torch.tensor([[frames]]),
        torch.tensor([frames * 480 - 80]),
        "toy",
        "",
        24000,
        1,
        (50.0,),
        sizes,
        {},
        0,
        {"k": "v"},
    )
