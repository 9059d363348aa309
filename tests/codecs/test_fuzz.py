"""Readers against mutated files: only their own error, no hang, and no more memory than the bytes that are there call for."""

import io
import random
import re
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from toneme.codecs.arrayfile import read_npz, read_safetensors, write_npz, write_safetensors
from toneme.codecs.dacfile import read_dac
from toneme.codecs.ecdc import read_ecdc, to_ecdc
from toneme.codecs.errors import TokenFileError
from toneme.codecs.formats import read_tokens
from toneme.codecs.tokenfile import TokenReader, read_tok, write_tok

from .fuzzing import join_records, mutate, mutate_inside, split_records
from .test_dacfile import dac_bytes
from .test_ecdc import made_ecdc
from .tokensets import make_tokens

OTHER_PLACES = r"byte \d+|this \.(npz|safetensors) file|this file does not hold tokens"
MAX_SECONDS = 2.0  # per file of a few kB, on a busy machine
MAX_GROWTH = 24 << 20  # bytes: a chunk's most codes as int64, and what unpacking them takes on the way


@cache
def tok_corpus() -> list[bytes]:
    """Small files that between them hold every kind of record and field."""
    many = [
        make_tokens(130, sizes=((1024,) * 2,)),
        make_tokens(100, sizes=((1000, 3),), repeat=0.9),
        make_tokens(40, sizes=((64,), (), (64, 1)), ratios=(1, 2, 4), rate=12.5),
        make_tokens(60, sizes=((16,),), side_period=7),
        make_tokens(0, sizes=((1 << 18,),)),
        make_tokens(600, sizes=((16,) * 2,), skew=8.0),
        make_tokens(80, sizes=((65536,),), repeat=0.5),
    ]
    files = []
    for tokens in many:
        file = io.BytesIO()
        write_tok(tokens, file, chunk_seconds=1.0 if tokens.frame_rate > 12.5 else 2.0)
        files.append(file.getvalue())
    assert sum(TokenReader(io.BytesIO(data)).verify().tables for data in files) >= 1
    assert sum(TokenReader(io.BytesIO(data)).verify().entropy for data in files) >= 3
    return files


def read_all(data: bytes, rng: random.Random) -> bool:
    """Read a file every way there is; return whether it was taken for whole."""
    way = rng.randrange(4)
    try:
        if way == 0:
            read_tok(io.BytesIO(data))
        elif way == 1:
            reader = TokenReader(io.BytesIO(data), salvage=True)
            reader.seek(rng.choice((0, 0.5, 1e3, 1e12)))
            reader.read()
            return reader.damage is None or check_message(reader.damage)
        elif way == 2:
            report = TokenReader(io.BytesIO(data)).verify()
            return report.damage is None or check_message(report.damage)
        else:
            read_tokens(io.BytesIO(data))
    except TokenFileError as error:
        return check_message(str(error), OTHER_PLACES if way == 3 else r"byte \d+")
    return True


def check_message(message: str, place: str = r"byte \d+") -> bool:
    """Return False for a message of one line that names a place; fail otherwise."""
    assert 20 < len(message) < 1000, message
    assert "\n" not in message
    assert re.search(place, message), message
    return False


def fuzz_tok(count: int, seed: int) -> int:
    rng = random.Random(seed)
    corpus = tok_corpus()
    records = [split_records(data) for data in corpus]
    assert [join_records(parts) for parts in records] == corpus
    whole = 0
    for i in range(count):
        which = rng.randrange(len(corpus))
        data = mutate(corpus[which], rng) if i % 4 == 0 else mutate_inside(records[which], rng)
        begin = time.perf_counter()
        whole += read_all(data, rng)
        assert time.perf_counter() - begin < MAX_SECONDS, data.hex()
    return whole


def test_two_thousand_mutated_token_files():
    whole = fuzz_tok(2000, seed=1)
    assert 0 < whole < 1500  # some mutations change codes or text alone: those must be read, the rest refused


@pytest.mark.slow
def test_a_hundred_thousand_mutated_token_files():
    assert fuzz_tok(100_000, seed=2) < 75_000


def growth(read: Callable[[], object]) -> int:
    """Return the most bytes that Python and numpy held at once while something was read."""
    tracemalloc.start()
    try:
        with suppress(TokenFileError):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_stays_in_proportion_to_the_file(tmp_path):
    rng = random.Random(3)
    records = [split_records(data) for data in tok_corpus()]
    for _ in range(200):
        data = mutate_inside(records[rng.randrange(len(records))], rng)
        assert growth(partial(read_all, data, rng)) < MAX_GROWTH, data.hex()
    for reader, whole in other_corpus(tmp_path):
        for _ in range(30):
            data = mutate(whole[:400], rng) + whole[400:]
            assert growth(partial(reader, data)) < MAX_GROWTH, data.hex()


def refused(data: bytes) -> None:
    with pytest.raises(TokenFileError):
        read_tok(io.BytesIO(data))


@pytest.mark.parametrize("claim", [1 << 16, 1 << 40])
def test_lengths_and_counts_that_only_claim(claim):
    """Every number of every record in turn is set to a claim, checksums right: a few kB of memory answer it."""
    for records in map(split_records, tok_corpus()):
        for i, record in enumerate(records):
            for j in range(len(record.numbers)):
                numbers = (*record.numbers[:j], claim, *record.numbers[j + 1 :])
                data = join_records([*records[:i], replace(record, numbers=numbers), *records[i + 1 :]])
                assert growth(partial(refused, data)) < MAX_GROWTH / 8


def other_corpus(tmp_path) -> list[tuple]:
    tokens = make_tokens(60, sizes=((1024,) * 2,))
    write_npz(tokens, tmp_path / "made.npz")
    write_safetensors(make_tokens(60, side_period=10), tmp_path / "made.safetensors")
    np.savez_compressed(tmp_path / "small.npz", **np.load(tmp_path / "made.npz"))
    return [
        (read_ecdc, to_ecdc(made_ecdc("encodec_24khz", 2400))),
        (read_ecdc, to_ecdc(made_ecdc("encodec_48khz", 60000))),
        (read_dac, dac_bytes(frames=20)),
        (read_npz, (tmp_path / "made.npz").read_bytes()),
        (read_npz, (tmp_path / "small.npz").read_bytes()),
        (read_safetensors, (tmp_path / "made.safetensors").read_bytes()),
    ]


def fuzz_others(count: int, seed: int, tmp_path) -> None:
    rng = random.Random(seed)
    for reader, data in other_corpus(tmp_path):
        reader(data)
        for _ in range(count):
            broken = mutate(data, rng)
            if rng.random() < 0.5:  # the descriptions at the start are where the numbers are
                broken = mutate(data[:400], rng) + data[400:]
            begin = time.perf_counter()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    reader(broken)
            except TokenFileError as error:
                check_message(str(error), OTHER_PLACES)
            assert time.perf_counter() - begin < MAX_SECONDS, broken.hex()


def test_mutated_files_of_other_formats(tmp_path):
    fuzz_others(200, 4, tmp_path)


@pytest.mark.slow
def test_many_mutated_files_of_other_formats(tmp_path):
    fuzz_others(10_000, 5, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_refused(seed):
    rng = random.Random(seed)
    heads = (b"", b"\xffTOK\x01", b"ECDC\x00", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x20" + bytes(7) + b"{")
    for _ in range(100):
        with pytest.raises(TokenFileError):
            read_tokens(io.BytesIO(rng.choice(heads) + rng.randbytes(rng.randrange(200))))
