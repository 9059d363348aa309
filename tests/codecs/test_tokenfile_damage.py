"""Damaged, cut and foreign token files: one sentence each, or what is whole of them."""

import io
import re
import struct
from dataclasses import replace

import pytest
import torch
from crc32c import crc32c

from toneme.codecs.errors import TokenFileError
from toneme.codecs.tokenfile import TokenReader, read_tok

from .fuzzing import join_records, split_records
from .test_tokenfile import Pipe, frames_in, to_bytes
from .tokensets import assert_same, make_tokens


def test_a_cut_at_every_byte_is_one_error_or_a_salvage_of_whole_chunks():
    tokens = make_tokens(150, sizes=((1024,) * 2,))
    data = to_bytes(tokens, chunk_seconds=1)
    first = len(to_bytes(make_tokens(0, sizes=((1024,) * 2,))))
    header = next(n for n in range(first) if _opens(data[:n]))
    chunk = next(n for n in range(header, len(data)) if frames_in(data[:n]) == 50)
    for n in range(len(data)):
        with pytest.raises(TokenFileError, match=r"byte \d+|is empty") as caught:
            read_tok(io.BytesIO(data[:n]))
        assert "\n" not in str(caught.value)
        if n >= header:
            assert frames_in(data[:n]) == (0 if n < chunk else 50 * min(3, (n - header) // (chunk - header)))
    assert frames_in(data) == 150


def _opens(data: bytes) -> bool:
    try:
        TokenReader(io.BytesIO(data))
    except TokenFileError:
        return False
    return True


def test_every_flipped_bit_is_noticed():
    tokens = make_tokens(40, sizes=((1024,),))
    data = to_bytes(tokens)
    for at in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[at] ^= 1 << bit
            with pytest.raises(TokenFileError):
                read_tok(io.BytesIO(bytes(broken)))


def test_salvage_says_where_it_stopped():
    tokens = make_tokens(300)
    data = bytearray(to_bytes(tokens, chunk_seconds=1))
    data[len(data) // 2] ^= 1
    reader = TokenReader(io.BytesIO(bytes(data)), salvage=True)
    part = reader.read()
    frames = part.codes.shape[2]
    assert 0 < frames < 300
    assert frames % 50 == 0
    assert_same(part, tokens.frames(0, frames))
    damage = reader.damage
    assert damage
    assert re.search(rf"chunk at frame {frames} at byte \d+ is damaged: its CRC32C", damage)
    with pytest.warns(UserWarning, match=r"chunk at frame .* is damaged"):
        read_tok(io.BytesIO(bytes(data)), salvage=True)
    for report in (TokenReader(io.BytesIO(bytes(data))).verify(), reader.verify()):
        assert report.damage == damage
        assert report.frames == (frames,)


@pytest.mark.parametrize("cut", [False, True])
def test_salvage_goes_back_to_what_is_whole_and_on_behind_the_damage(cut):
    tokens = make_tokens(300)
    data = bytearray(to_bytes(tokens, chunk_seconds=1))
    data[len(data) // 2] ^= 1
    reader = TokenReader(io.BytesIO(bytes(data[: len(data) // 2] if cut else data)), salvage=True)
    frames = reader.read().codes.shape[2]
    for start in (0, 70, 0):
        reader.seek(start / 50)
        assert reader.damage is None
        assert_same(reader.read(), tokens.frames(start, frames))
        assert reader.damage
    if not cut:
        reader.seek(5)
        assert_same(reader.read(), tokens.frames(250, 300))
        assert reader.damage is None


def test_a_missing_chunk_is_noticed_though_every_checksum_holds():
    data = to_bytes(make_tokens(150, sizes=((1024,) * 2,)), chunk_seconds=1)
    header = next(n for n in range(len(data)) if _opens(data[:n]))
    chunk = next(n for n in range(header, len(data)) if frames_in(data[:n]) == 50) - header
    with pytest.raises(TokenFileError, match="begins at frame 50 where frame 0 was expected"):
        read_tok(io.BytesIO(data[:header] + data[header + chunk :]))
    without_last = data[: header + 2 * chunk] + data[header + 3 * chunk :]
    for file in (io.BytesIO(without_last), Pipe(without_last)):
        with pytest.raises(TokenFileError, match=r"counts \(150,\) frames, and the chunks hold \(100,\)"):
            read_tok(file)


def test_two_counts_of_samples_are_refused():
    tokens = make_tokens(150)
    header, *chunks, _ = split_records(to_bytes(tokens))
    end = split_records(to_bytes(replace(tokens, n_samples=tokens.n_samples - 1)))[-1]
    with pytest.raises(TokenFileError, match="it counts 71999 samples, and the header 72000"):
        read_tok(io.BytesIO(join_records([header, *chunks, end])))


def recrc(data: bytearray, start: int, end: int) -> bytes:
    """Return the file with the CRC of the record [start, end) made right again."""
    data[end - 4 : end] = struct.pack("<I", crc32c(bytes(data[start : end - 4])))
    return bytes(data)


def test_a_newer_version_is_refused():
    data = bytearray(to_bytes(make_tokens(10)))
    data[4] = 2
    with pytest.raises(TokenFileError, match="version 2, at byte 4, and this program reads up to version 1: install a newer"):
        read_tok(io.BytesIO(bytes(data)))


def test_codes_out_of_range_are_refused():
    data = bytearray(to_bytes(make_tokens(8, sizes=((1000,),)), encoding="packed"))
    start = next(n for n in range(len(data)) if _opens(bytes(data[:n])))
    data[start + 4 : start + 14] = b"\xff" * 10
    with pytest.raises(TokenFileError, match=rf"chunk at byte {start} is not valid: codebook 0 has 1000 codes.* code 1023"):
        read_tok(io.BytesIO(recrc(data, start, start + 18)))
    header, *_ = split_records(to_bytes(make_tokens(8, sizes=((1000,),))))
    one = replace(make_tokens(8, sizes=((1001,),)), streams=(torch.tensor([[[0, 999, 3, 1000, 5, 6, 7, 8]]]),))
    with pytest.raises(TokenFileError, match=r"codebook 0 has 1000 codes, from 0 to 999, and code 1000 is stored"):
        read_tok(io.BytesIO(join_records([header, *split_records(to_bytes(one))[1:]])))


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "is empty"), (b"RIFF1234WAVE", "begins with 52 49 46 46 at byte 0"), (b"\xffTO", "byte 3")]
)
def test_foreign_files(data, message):
    with pytest.raises(TokenFileError, match=message):
        read_tok(io.BytesIO(data))


def test_bytes_after_the_end_are_refused():
    with pytest.raises(TokenFileError, match="bytes follow the end"):
        read_tok(io.BytesIO(to_bytes(make_tokens(10)) + b"x"))
