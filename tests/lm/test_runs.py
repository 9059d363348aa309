"""Runs: codes at a variable rate come back from ids, from text, and as audio while they are written."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toneme.codecs.errors import ShapeError
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.lm.incremental import IncrementalDecoder
from toneme.lm.runs import from_runs, to_runs
from toneme.lm.vocab import Vocab

SMALL = {"encoder_dim": 16, "encoder_blocks": (1, 1), "decoder_dim": 16, "decoder_blocks": (1, 1), "latent_dim": 8}


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return TonemeCodec(TonemeConfig(**SMALL), "small").eval()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=8), st.integers(1, 5))
def test_runs_come_back_and_none_is_too_long(segments, longest):
    codes = torch.tensor([code for code, frames in segments for _ in range(frames)], dtype=torch.int64)[None, None]
    runs = to_runs(codes, longest)
    assert torch.equal(from_runs(runs), codes)
    assert runs.shape[1] == 2
    assert bool((runs[:, 1] < longest).all())
    assert runs.shape[-1] == sum(-(-int(n) // longest) for n in codes[0, 0].unique_consecutive(return_counts=True)[1])


def test_ids_and_text_say_code_and_length(codec):
    vocab = Vocab.from_codec(codec, 1, longest=4)
    codes = torch.tensor([[[12, 12, 12, 7, 3, 3, 3, 3, 3]]])
    text = vocab.text(codes, markers=False)
    assert text == "<|audio_12|><|audio_for_3|><|audio_7|><|audio_for_1|><|audio_3|><|audio_for_4|><|audio_3|><|audio_for_1|>"
    assert torch.equal(vocab.codes(vocab.parse("Say: " + vocab.text(codes)))[0], codes)
    assert torch.equal(vocab.codes(vocab.ids(codes))[0], codes)
    assert len(set(vocab.all_strings())) == vocab.size == 1024 + 4 + 3
    moved = vocab.moved([5000, 100], {name: i for i, name in enumerate(vocab.specials)})
    assert torch.equal(moved.codes(moved.ids(codes))[0], codes)
    with pytest.raises(ShapeError, match="id 7 at position 1 of item 0 is not one of 1024 to 1027"):
        vocab.codes(torch.tensor([12, 7]))


def test_runs_sound_as_they_come(codec):
    vocab = Vocab.from_codec(codec, 1, longest=6)
    codes = torch.tensor([5, 900, 31]).repeat_interleave(torch.tensor([4, 9, 1]))[None, None]
    decoder = IncrementalDecoder(codec, vocab)
    pieces = [decoder.push([i]) for i in vocab.ids(codes)[0].tolist()]
    assert pieces[1].shape[-1] == 0
    assert pieces[2].shape[-1] > pieces[8].shape[-1] > 0  # four frames at once, then one
    joined = torch.cat([*pieces, decoder.flush()], -1)
    torch.testing.assert_close(joined, codec.decode(codec.tokens_from_codes(codes)), atol=1e-5, rtol=0)


def test_what_has_no_runs_is_refused(codec):
    with pytest.raises(ShapeError, match="one codebook; got 8: pass codebooks=1"):
        Vocab.from_codec(codec, longest=4)
    with pytest.raises(ShapeError, match="differ in their number of runs"):
        to_runs(torch.tensor([[[1, 1]], [[1, 2]]]), 4)
    with pytest.raises(ShapeError, match="differ in their number of frames"):
        from_runs(torch.tensor([[[1], [0]], [[1], [3]]]))
    with pytest.raises(ShapeError, match=r"\[batch, 1, frames\]; got \[1, 2, 3\]"):
        to_runs(torch.zeros(1, 2, 3).long(), 4)
