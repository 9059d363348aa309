"""Calls of one shape read and write the same memory in turns: what comes out is what single calls give, and stays."""

import numpy as np
import pytest

from toneme.export.golden import made_audio
from toneme.export.runtime import StreamingCodec
from toneme.export.runtime_turns import Turns

SIZES = [480, 480, 480, 960, 480, 480, 960, 960, 960, 960, 480, 480]  # calls of both shapes, once and in a row


@pytest.fixture
def codec(small_folder) -> StreamingCodec:
    return StreamingCodec(small_folder)


@pytest.fixture
def pieces() -> list[np.ndarray]:
    return np.split(made_audio(24000, 1, 0.5)[..., : sum(SIZES)], np.cumsum(SIZES)[:-1], axis=-1)


def plain(stream):
    stream._in_turns = False
    return stream


def sound(decoder, codes: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([decoder.push(frame) for frame in codes], axis=-1)


def test_equal_single_calls(codec, pieces):
    encoders, decoders = [codec.encoder(), plain(codec.encoder())], [codec.decoder(), plain(codec.decoder())]
    for piece in pieces:
        codes, expected = (encoder.push(piece) for encoder in encoders)
        np.testing.assert_array_equal(codes, expected)
        np.testing.assert_array_equal(*(decoder.push(codes) for decoder in decoders))
    for stream in (encoders[0], decoders[0]):
        assert isinstance(stream._turns, Turns)
    assert encoders[1]._turns is None


def test_what_was_given_out_or_saved_is_not_written_again(codec, pieces):
    encoder, decoder = codec.encoder(), codec.decoder()
    kept, saved = [], []
    for piece in pieces[:3] + pieces[6:10]:
        codes = encoder.push(piece)
        kept += [(value, value.copy()) for value in (codes, decoder.push(codes))]
        state = decoder.save()
        saved.append((state, {name: value.copy() for name, value in state.items()}))
    for value, then in kept:
        np.testing.assert_array_equal(value, then)
    for state, then in saved:
        assert all(np.array_equal(state[name], then[name]) for name in then)


def test_restored_and_reset_streams_go_on_from_their_new_states(codec, pieces):
    codes = np.split(codec.encoder().push(np.concatenate(pieces, axis=-1))[..., :8], 8, axis=-1)
    decoder, expected = codec.decoder(), plain(codec.decoder())
    first = sound(decoder, codes[:4])
    saved = decoder.save()
    then = sound(decoder, codes[4:])
    decoder.restore(saved)
    np.testing.assert_array_equal(sound(decoder, codes[4:]), then)
    decoder.reset()
    np.testing.assert_array_equal(sound(decoder, codes[:4]), first)
    np.testing.assert_array_equal(sound(expected, codes), np.concatenate([first, then], axis=-1))


def test_whole_audio_runs_in_single_calls(codec, pieces):
    encoder = codec._encoder(1, None, whole=True)
    for piece in pieces[:3]:
        encoder.push(piece)
    assert encoder._turns is None


def test_memory_is_kept_where_another_shape_comes_now_and_then(codec, pieces):
    encoder, audio = codec.encoder(), np.concatenate(pieces, axis=-1)
    for _ in range(3):
        encoder.push(audio[..., :480])
    turns = encoder._turns
    assert isinstance(turns, Turns)
    for size in (960, 480, 960, 480, 960, 480):
        encoder.push(audio[..., :size])
    assert encoder._turns is turns
