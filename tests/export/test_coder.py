"""An exported codec for commands: files of tokens are, byte for byte, those that it writes behind the interface of torch."""

import io

import numpy as np
import pytest

import toneme
from toneme.codecs.coder import Coder, TorchCoder
from toneme.codecs.tokenfile import TokenReader, TokenWriter
from toneme.export.codec import ExportedCodec
from toneme.export.coder import ExportedCoder

from .families import check_files, file_of, noise, sound_of


@pytest.fixture
def coder(small_folder) -> ExportedCoder:
    return ExportedCoder(small_folder)


@pytest.mark.parametrize("codebooks", [1, 4])
def test_files_are_those_of_the_torch_interface(small_folder, codebooks):
    check_files(small_folder, codebooks, (1, 479, 480, 24000))


def test_it_is_what_the_codec_is(small_folder, coder):
    codec = ExportedCodec(small_folder)
    theirs = TorchCoder(codec)
    assert (coder.name, coder.weights_hash, coder.spec) == (theirs.name, theirs.weights_hash, theirs.spec)
    assert coder.max_samples((3,)) == theirs.max_samples((3,)) == codec.max_samples((3,))
    assert coder.as_codec().weights_hash == codec.weights_hash


def refusals(coder: Coder) -> list[str]:
    header = TokenReader(io.BytesIO(file_of(coder, noise(480, 1)[0].numpy(), 4, 480))).header
    found = []
    for work in (
        lambda: coder.check(type(header)(**{**vars(header), "codec": "other"})),
        lambda: coder.check(type(header)(**{**vars(header), "weights_hash": "0" * 16})),
        lambda: coder.check_length(100_000, (3,)),
        lambda: coder.set_decode_options(seed=1),
        lambda: coder.encoding(5),
        lambda: coder.encoding(4).push(np.full((1, 10), np.nan, np.float32)),
    ):
        with pytest.raises(toneme.TonemeError) as refusal:
            work()
        found.append(str(refusal.value))
    return found


def test_refusals_are_those_of_the_torch_interface(small_folder, coder):
    assert refusals(coder) == refusals(TorchCoder(ExportedCodec(small_folder)))


def test_a_piece_of_another_codec_is_not_written(coder):
    piece = coder.encoding(4).push(np.zeros((1, 4800), np.float32))
    with TokenWriter(io.BytesIO()) as writer:
        writer.write(piece)
        with pytest.raises(toneme.ShapeError, match="codec, weights, rates and codebooks"):
            writer.write(coder.encoding(3).push(np.zeros((1, 4800), np.float32)))


def test_other_weights_decode_where_that_is_wanted(coder):
    audio = noise(2400, 1)[0].numpy()
    data = file_of(coder, audio, 4, 480)
    with TokenReader(io.BytesIO(data)) as reader:
        coder.check(type(reader.header)(**{**vars(reader.header), "weights_hash": "0" * 16}), any_weights=True)
    assert sound_of(coder, data).shape == audio.shape
