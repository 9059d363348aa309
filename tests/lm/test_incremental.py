"""Audio from ids as they come: equal to the whole, soon enough, and never a code out of range."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toneme.codecs.errors import ShapeError
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.snac import SnacCodec, SnacConfig
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.lm.bank import Place, Section
from toneme.lm.incremental import IncrementalDecoder, PatternDecoder
from toneme.lm.pattern import Pattern
from toneme.lm.vocab import Vocab

SMALL = {"encoder_dim": 16, "encoder_blocks": (1, 1), "decoder_dim": 16, "decoder_blocks": (1, 1), "latent_dim": 8}


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return TonemeCodec(TonemeConfig(**SMALL), "small").eval()


@pytest.fixture(scope="module")
def snac():
    torch.manual_seed(0)
    blocks = DacBlocksConfig(8, (2, 4), 32, 32, depthwise=True, noise=True)
    return SnacCodec(SnacConfig(8000, blocks, (4, 2, 1), 32, 4), "snac").eval()


def made(codec, frames):
    """Return random codes for so many frames of the slowest stream."""
    slowest = max(stream.hop for stream in codec.spec.streams)
    return tuple(
        torch.stack([torch.randint(0, size, (1, frames * slowest // s.hop)) for size in s.codebook_sizes], 1)
        for s in codec.spec.streams
    )


@pytest.mark.parametrize("name", ["codec", "snac"])
def test_pieces_joined_equal_the_whole(name, request):
    codec = request.getfixturevalue(name)
    vocab, codes = Vocab.from_codec(codec, base=7), made(codec, 20 if name == "codec" else 400)
    whole, ids = codec.decode(codec.tokens_from_codes(codes)), vocab.ids(codes)[0]
    decoder = IncrementalDecoder(codec, vocab, chunk_seconds=0.05)
    pieces = [decoder.push(piece) for piece in ids.split(13)]
    joined = torch.cat([*pieces, decoder.flush(whole.shape[-1])], -1)
    assert decoder.ended
    assert decoder.dropped == 0
    torch.testing.assert_close(joined, whole, atol=1e-5, rtol=0)


def test_audio_comes_at_the_codecs_latency(codec):
    vocab, codes = Vocab.from_codec(codec), made(codec, 30)
    ids, depth = vocab.ids(codes, markers=False)[0], codec.spec.codebooks
    stream, decoder = codec.stream_decoder(), IncrementalDecoder(codec, vocab)
    for frame in range(30):
        ours = [decoder.push([i]) for i in ids[frame * depth : (frame + 1) * depth].tolist()]
        assert all(piece.shape[-1] == 0 for piece in ours[:-1])
        assert ours[-1].shape == stream.push(codes[0][..., frame : frame + 1]).shape


def test_chunks_of_a_codec_that_is_not_causal_are_as_short_as_asked_for(snac):
    vocab, codes = Vocab.from_codec(snac), made(snac, 400)
    ids = vocab.ids(codes, markers=False)[0]
    counts = {s: int(IncrementalDecoder(snac, vocab, chunk_seconds=s).push(ids).shape[-1]) for s in (0.05, 10.0)}
    reach = 2 * (snac.spec.receptive_field or 0) + snac.padded_to
    assert counts[0.05] >= 400 * 32 - reach - 0.05 * 8000
    assert counts[10.0] == 0


def test_text_is_read_as_it_comes(codec):
    vocab, codes = Vocab.from_codec(codec), made(codec, 6)
    text = "Sure: " + vocab.text(codes)
    decoder = IncrementalDecoder(codec, vocab)
    cuts = [0, *(start + cut for start in range(0, len(text), 63) for cut in (3, 63))]  # parts of tokens, then several
    pieces = [decoder.push(text[start:stop]) for start, stop in pairwise(cuts)]
    joined = torch.cat([*pieces, decoder.flush()], -1)
    torch.testing.assert_close(joined, codec.decode(codec.tokens_from_codes(codes)), atol=1e-5, rtol=0)
    for part in (text[:-40], text[:40], ""):  # nothing is left of what was pushed before a reset
        decoder.reset()
        decoder.push(part)
    torch.testing.assert_close(torch.cat([decoder.push(text), decoder.flush()], -1), joined, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([5, 1024, 4], "id 4 at position 2 cannot follow 2 ids of a group, one of 2048 to 3071"),
        ([-1], "id -1 at position 0 cannot follow 0 ids of a group"),
        ([10**12], "id 1000000000000 at position 0"),
        ([5, 8193], "ends within a group, after 1 of 8 ids"),
        ([8192, 5, 1024, 8192], "ends within a group, after 2 of 8 ids"),
        ([8193, 5], "id 5 at position 1 cannot follow the end token"),
    ],
)
def test_what_does_not_belong_is_refused(codec, ids, message):
    with pytest.raises(ShapeError, match=message):
        IncrementalDecoder(codec, Vocab.from_codec(codec)).push(ids)


@pytest.mark.parametrize("errors", ["raise", "resync"])
def test_text_around_audio_is_passed_over(codec, errors):
    vocab, codes = Vocab.from_codec(codec, base=50, extra=["<|turn|>"]), made(codec, 6)
    turn = vocab.specials["<|turn|>"]
    words = [vocab.ids(codes[0][..., :2])[0].tolist(), vocab.ids(codes[0][..., 2:])[0].tolist()]
    decoder = IncrementalDecoder(codec, vocab, errors)
    pieces = [decoder.push(ids) for ids in ([turn, 0, 49], words[0], [7, 99999, turn], words[1], [2])]
    joined = torch.cat([*pieces, decoder.flush()], -1)
    torch.testing.assert_close(joined, codec.decode(codec.tokens_from_codes(codes)), atol=1e-5, rtol=0)
    assert (decoder.dropped, decoder.passed, decoder.ended) == (0, 5, True)
    if errors == "raise":
        for bad in ([99999], [3, 49, vocab.end], [*words[0][:-1], 3], [words[0][0], 3]):  # no text, or within audio
            with pytest.raises(ShapeError, match=f"id {bad[-1]} at position {len(bad) - 1} cannot follow"):
                IncrementalDecoder(codec, vocab).push(bad)


def test_flush_within_a_group_is_refused(codec):
    decoder = IncrementalDecoder(codec, Vocab.from_codec(codec))
    decoder.push([5])
    with pytest.raises(ShapeError, match="ends within a group, after 1 of 8"):
        decoder.flush()


def test_resync_goes_on_with_the_next_group(codec):
    vocab, codes = Vocab.from_codec(codec), made(codec, 4)
    ids = vocab.ids(codes, markers=False)[0].tolist()
    damaged = ids[:8] + ids[8:11] + ids[16:24]  # five ids of the second frame were lost
    damaged += ids[9:10] + ids[9:16] + [999999, -3] + ids[24:32]  # it came again, without its first id and the second twice
    decoder = IncrementalDecoder(codec, vocab, errors="resync")
    audio = torch.cat([decoder.push(damaged), decoder.flush()], -1)
    expected = codec.decode(codec.tokens_from_codes(codes[0][..., [0, 2, 3]]))
    torch.testing.assert_close(audio, expected, atol=1e-5, rtol=0)
    assert decoder.dropped == 3 + 8 + 2


groups = st.integers(0, 1023).map(lambda code: [1024 * q + code for q in range(8)])
broken = st.tuples(groups, st.integers(1, 7)).map(lambda told: told[0][: told[1]])
others = st.one_of(st.sampled_from([8192, 8193, 8194]), st.integers(-5, 9000)).map(lambda i: [i])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(groups, broken, others), max_size=12))
def test_resync_takes_anything(parts):
    ids = [i for part in parts for i in part]
    torch.manual_seed(0)
    codec = SOUNDLESS
    vocab = Vocab.from_codec(codec)
    decoder = IncrementalDecoder(codec, vocab, errors="resync")
    n = decoder.push(ids).shape[-1] + decoder.flush().shape[-1]
    kept = n // codec.spec.hop * 8
    specials = sum(i in vocab.specials.values() for i in ids)
    assert kept + decoder.dropped + decoder.passed == len(ids) - specials


SOUNDLESS = TonemeCodec(TonemeConfig(**SMALL), "small").eval()


def test_orpheus_ids_sound_through_snac():
    blocks = DacBlocksConfig(8, (2, 4), 32, 32, depthwise=True, noise=True)
    codec = SnacCodec(SnacConfig(8000, blocks, (4, 2, 1), 4096, 4), "snac").eval()
    vocab, codes = Vocab.preset("orpheus"), made(codec, 30)
    decoder = IncrementalDecoder(codec, vocab, chunk_seconds=0.05)
    turn = torch.tensor([[128261]]), torch.tensor([[128262, 128009]])  # as the model writes it
    audio = torch.cat([decoder.push(torch.cat([turn[0], vocab.ids(codes), turn[1]], 1)), decoder.flush()], -1)
    torch.testing.assert_close(audio, codec.decode(codec.tokens_from_codes(codes)), atol=1e-5, rtol=0)


def test_streams_in_sections_of_their_own_sound_whole(snac):
    """As Spark's, whose first section says how all that follows sounds."""
    banks = Vocab.from_codec(snac).banks
    sections = tuple(Section((Place(i, 0, 0, i),), f"<{i}>", f"</{i}>") for i in range(3))
    specials = {name: 96 + i for i, name in enumerate(name for own in sections for name in (own.start, own.end))}
    vocab, codes = Vocab(banks, sections, (1, 1, 1), specials), made(snac, 10)
    ids, whole = vocab.ids(codes)[0], snac.decode(snac.tokens_from_codes(codes))
    decoder = IncrementalDecoder(snac, vocab)
    assert all(decoder.push(piece).shape == (1, 1, 0) for piece in ids.split(7))
    assert torch.equal(decoder.flush(), whole)
    decoder.reset()
    decoder.push(ids[:15])
    assert decoder.flush().shape == (1, 1, 0)  # two sections are not there yet


def test_patterns_sound_as_their_columns_come(codec):
    pattern, codes = Pattern.delay((1024,) * 8), torch.cat([made(codec, 12)[0], made(codec, 12)[0]])
    columns = pattern.apply(codes)[..., 1:]
    decoder = PatternDecoder(codec, pattern, batch=2)
    pieces = [decoder.push(columns[..., i]) for i in range(columns.shape[-1])]
    assert pieces[6].shape[-1] == 0
    whole = codec.decode(codec.tokens_from_codes(codes))
    torch.testing.assert_close(torch.cat([*pieces, decoder.flush(whole.shape[-1])], -1), whole, atol=1e-5, rtol=0)


def test_one_stream_of_several_sounds(codec):
    pattern = Pattern.moshi(100, (1024,) * 8)
    agent, user = made(codec, 6)[0], made(codec, 6)[0]
    columns = pattern.apply({"text": torch.zeros(1, 1, 6).long(), "agent": agent, "user": user})[..., 1:]
    decoder = PatternDecoder(codec, pattern, stream="agent")
    audio = torch.cat([decoder.push(columns), decoder.flush()], -1)
    expected = codec.decode(codec.tokens_from_codes(agent[..., :-1]))
    torch.testing.assert_close(audio, expected, atol=1e-5, rtol=0)
    for call, message in [
        (lambda: PatternDecoder(codec, pattern), "17 do not fit: name a stream"),
        (lambda: PatternDecoder(codec, pattern, stream="other"), "no stream 'other': it has text, agent, user"),
        (lambda: decoder.steps.push(torch.full((1, 17), 5000)), "codebook 0 must be from 0 to 99"),
    ]:
        with pytest.raises(ShapeError, match=message):
            call()


def test_what_does_not_fit_together_is_refused(codec, snac):
    for call, message in [
        (lambda: IncrementalDecoder(snac, Vocab.from_codec(codec)), "not those of snac, which has 3 streams"),
        (lambda: IncrementalDecoder(codec, Vocab.preset("xcodec2")), "not those of small"),
        (lambda: IncrementalDecoder(codec, Vocab.from_codec(codec), errors="ignore"), '"raise" or "resync"; got'),
    ]:
        with pytest.raises(ShapeError, match=message):
            call()
