"""Whole files of the server: what a stranger's token file may make it do."""

import io

import pytest
import torch

from toneme.codecs.coder import TorchCoder
from toneme.codecs.tokenfile import TokenReader, TokenWriter
from toneme.codecs.toneme24k import TonemeCodec
from toneme.export.server_files import decode_file
from toneme.export.server_limits import Limits, RefusedError


@pytest.fixture
def codec(small: TonemeCodec) -> TorchCoder:
    return TorchCoder(small)


def made_tokens(codec: TorchCoder, seconds: int) -> bytes:
    frames = torch.zeros(1, 4, 50 * seconds, dtype=torch.int64)
    target = io.BytesIO()
    with TokenWriter(target, encoding="packed", chunk_seconds=5) as writer:
        writer.write(codec.codec.tokens_from_codes(frames))
    return target.getvalue()


def belittled(data: bytes) -> bytes:
    """Return a file whose end record counts one frame in all, and nothing else is wrong with."""
    index = TokenReader(io.BytesIO(data)).index
    assert index is not None
    start = len(data) - len(index.to_record())
    index.n_samples, index.totals = 480, (1,)
    return data[:start] + index.to_record()


def test_a_file_is_decoded_as_far_as_it_says(codec: TorchCoder) -> None:
    target = io.BytesIO()
    assert len(list(decode_file(codec, made_tokens(codec, 20), Limits(), target))) > 1
    assert len(target.getvalue()) == 44 + 2 * 20 * 24_000


def test_an_end_record_that_counts_too_little_does_not_lift_the_limit(codec: TorchCoder) -> None:
    data = belittled(made_tokens(codec, 20))
    done = []
    with pytest.raises(RefusedError, match="at most 10 s"):
        done.extend(decode_file(codec, data, Limits(seconds=10), io.BytesIO()))
    assert len(done) == 2
