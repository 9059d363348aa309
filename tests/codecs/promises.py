"""What every codec promises, checked on any one of them."""

from pathlib import Path

import torch
from torch import Tensor

from toneme.codecs.base import Codec
from toneme.codecs.tokens import Tokens


def check_saved(codec: Codec, audio: Tensor, folder: Path) -> None:
    """A saved codec has the same configuration, hash and codes."""
    codec.save(folder)
    again = type(codec).from_folder(folder)
    assert again.config == codec.config
    assert again.weights_hash == codec.weights_hash
    for ours, theirs in zip(again.encode(audio).streams, codec.encode(audio).streams, strict=True):
        assert torch.equal(ours, theirs)


def check_comes_back(codec: Codec, audio: Tensor) -> Tokens:
    """Audio comes back finite and of its own length; return its tokens."""
    tokens = codec.encode(audio)
    decoded = codec.decode(tokens)
    assert decoded.shape == audio.shape
    assert torch.isfinite(decoded).all()
    return tokens


def check_batch(codec: Codec, audio: Tensor, lengths: list[int], rtol: float = 0) -> None:
    """A batch with lengths codes and sounds like its items, and is silent beyond their ends.

    Sums may run in another order, so audio is within 1e-5 of values about 1.
    """
    tokens = codec.encode(audio, lengths=lengths)
    decoded = codec.decode(tokens)
    for i, length in enumerate(lengths):
        alone = codec.encode(audio[i : i + 1, :, :length])
        for ours, theirs in zip(tokens[i].streams, alone.streams, strict=True):
            assert torch.equal(ours, theirs)
        torch.testing.assert_close(decoded[i : i + 1, :, :length], codec.decode(alone), atol=1e-5, rtol=rtol)
        assert not decoded[i, :, length:].any()
