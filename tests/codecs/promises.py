"""What every codec promises, checked on any one of them."""

import random
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


def check_streams(codec: Codec, audio: Tensor, seed: int = 0, chunk_seconds: float | None = None) -> None:
    """Audio and codes in pieces of any length equal the whole, which must not be longer than one of the codec's windows."""
    rng, tokens = random.Random(seed), codec.encode(audio)
    encoder = codec.stream_encoder(audio.shape[0], chunk_seconds=chunk_seconds)
    decoder = codec.stream_decoder(audio.shape[0], chunk_seconds)
    pieces = [encoder.push_tokens(part) for part in _split(audio, rng)] + [encoder.flush_tokens()]
    for i, codes in enumerate(tokens.streams):
        assert torch.equal(torch.cat([piece.streams[i] for piece in pieces], dim=-1), codes)
    sound = torch.cat([*(decoder.push(piece) for piece in pieces), decoder.flush(audio.shape[-1])], dim=-1)
    expected = codec.decode(tokens)
    torch.testing.assert_close(sound, expected, atol=1e-5 * max(1.0, float(expected.abs().max())), rtol=0)


def check_latency(codec: Codec, chunk_seconds: float | None = None) -> None:
    """A stream encoder gives its first frame with the last sample that `latency` states, a decoder the first one's audio."""
    spec, before = codec.spec, codec.latencies(chunk_seconds)
    encoder = codec.stream_encoder(chunk_seconds=chunk_seconds)
    assert before[0] == encoder.latency
    audio = torch.randn(1, spec.channels, encoder.latency, generator=torch.Generator().manual_seed(0)) * 0.3
    assert not any(codes.shape[-1] for codes in encoder.push_tokens(audio[..., :-1]).streams)
    assert all(codes.shape[-1] for codes in encoder.push_tokens(audio[..., -1:]).streams)
    if before[1] is None:
        return
    decoder, slowest = codec.stream_decoder(1, chunk_seconds), max(stream.hop for stream in spec.streams)
    assert before[1] == decoder.latency
    needed = -(-decoder.latency // slowest)  # codes come in whole frames
    tokens = codec.encode(audio.new_zeros(1, spec.channels, needed * slowest))
    ratios = [slowest // stream.hop for stream in spec.streams]
    before_last = tuple(codes[..., : (needed - 1) * n] for codes, n in zip(tokens.streams, ratios, strict=True))
    last = tuple(codes[..., (needed - 1) * n : needed * n] for codes, n in zip(tokens.streams, ratios, strict=True))
    first, none = ({name: value[:, :n] for name, value in tokens.side.items()} for n in (1, 0))
    given = decoder.push(codec.make_tokens(before_last, None, first)).shape[-1]
    assert given < slowest
    assert given + decoder.push(codec.make_tokens(last, None, none)).shape[-1] >= slowest


def check_prefix(codec: Codec, audio: Tensor) -> None:
    """Fewer codebooks are the first of more."""
    whole = [codes for stream in codec.encode(audio).streams for codes in stream.unbind(1)]
    for depth in range(1, len(whole) + 1):
        found = [codes for stream in codec.encode(audio, codebooks=depth).streams for codes in stream.unbind(1)]
        assert len(found) == depth
        assert all(map(torch.equal, found, whole))


def check_reach(codec: Codec, audio: Tensor) -> int:
    """What comes beyond the stated receptive field, or later than a causal codec hears, changes no code; return how many."""
    spec, cut = codec.spec, audio.shape[-1] * 3 // 4
    later = audio.clone()
    later[..., cut:] *= -0.5
    ours, theirs = codec.encode(audio), codec.encode(later)
    assert not all(map(torch.equal, ours.streams, theirs.streams))
    reach, kept = spec.lookahead if spec.causal else spec.receptive_field, 0
    for stream, before, after in zip(spec.streams, ours.streams, theirs.streams, strict=True):
        sure = 0 if reach is None else max(0, (cut - reach) // stream.hop)
        assert torch.equal(before[..., :sure], after[..., :sure])
        kept += sure
    return kept


def _split(audio: Tensor, rng: random.Random) -> list[Tensor]:
    """Cut audio at random, pieces of nothing and of one sample included."""
    cuts = sorted([0, 0, 1, *(rng.randrange(audio.shape[-1]) for _ in range(4))])
    return [audio[..., a:b] for a, b in zip([0, *cuts], [*cuts, audio.shape[-1]], strict=True)]
