"""Language models of tokens: what can be learned is, bits are those of the probabilities, and codes lie where they did."""

import math

import numpy as np
import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.eval.clips import Clip
from toneme.eval.jobs import run_job
from toneme.eval.probes.fitting import Budget
from toneme.eval.probes.language_model import LanguageBudget, LanguageJob, Layout, bits_of, frequencies, plain_bits
from toneme.eval.reconstruction import pack
from toneme.eval.systems import About, CodecSystem
from toneme.lm.models.base import build
from toneme.lm.models.config import LanguageConfig

SYSTEM = CodecSystem("made", "made", "made x2", "made 1", About(), 2)


def test_streams_of_several_rates_are_joined_and_parted():
    layout = Layout((10.0, 20.0, 40.0), (4, 5, 6))
    assert layout.written == (4, 5, 5, 6, 6, 6, 6)
    codes = [np.array([1, 2]), np.array([1, 2, 3, 4]), np.arange(9) % 6]  # the last has one code too many
    joined = layout.join(codes)
    assert joined.tolist() == [[1, 1, 2, 0, 1, 2, 3], [2, 3, 4, 4, 5, 0, 1]]
    assert [own.tolist() for own in layout.part(joined)] == [[1, 2], [1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 0, 1]]
    with pytest.raises(ShapeError, match="no multiples"):
        _ = Layout((10.0, 15.0), (4, 4)).ratios


@torch.inference_mode()
def test_bits_are_those_of_the_models_probabilities():
    torch.manual_seed(0)
    model = build(LanguageConfig("delay", "made", "", 50.0, (5, 7), width=16, layers=1, heads=2)).eval()
    piece = torch.tensor([[1, 2], [3, 4], [0, 6]])
    sequence = torch.tensor([[[5, 1, 3, 0, 5], [7, 7, 2, 4, 6]]])  # MusicGen's: the second codebook a column later
    shares = [own[0].softmax(-1).log2() for own in model(sequence, [None])]
    expected = [-sum(shares[0][t, piece[t, 0]] for t in range(3)), -sum(shares[1][t + 1, piece[t, 1]] for t in range(3))]
    assert bits_of(model, piece) == pytest.approx([bits.item() for bits in expected], rel=1e-5)


def test_bits_without_context_are_those_of_the_shares():
    pieces = [torch.tensor([[0], [0]]), torch.tensor([[1]])]  # with one more of each of two codes: 3 and 2 of 5
    bits = plain_bits(frequencies(pieces, (2,)), torch.tensor([[0], [1], [1]]))
    assert bits == [pytest.approx(-math.log2(3 / 5) - 2 * math.log2(2 / 5))]


def make_job(codes, steps=60):
    """Return a job without judges whose clips have these codes; every fourth is tested."""
    found = {
        f"{i:016x}": {"codes": [pack(row) for row in own], "rates": [50.0, 50.0], "sizes": [8, 8]}
        for i, own in enumerate(codes)
    }
    clips = [Clip(None, digest, "", digest) for digest in found]
    fit = Budget(steps=steps, batch=8, rate=1e-2, seeds=(0,))
    budget = LanguageBudget(fit, seconds=0.4, continued=0, width=16, layers=1, heads=2)
    return LanguageJob(SYSTEM, found, tuple(c for i, c in enumerate(clips) if i % 4), tuple(clips[::4]), (), 24000, budget)


def bits(result):
    return sum(sum(clip["bits"]) for clip in result["clips"].values()) / sum(
        clip["seconds"] for clip in result["clips"].values()
    )


def test_what_follows_is_learned_and_what_is_drawn_is_not():
    draw = np.random.default_rng(0)
    counting = [(np.arange(20)[None] + draw.integers(8, size=(2, 1))) % 8 for _ in range(40)]
    drawn = [draw.integers(8, size=(2, 20)) for _ in range(40)]
    followed, noise = (make_job(codes).run(frozenset(), "cpu") for codes in (counting, drawn))
    (followed,), (noise,) = followed.values(), noise.values()
    assert bits(followed) < 60  # of 300 bits a second; the first code of each codebook cannot be known: 15
    assert bits(noise) == pytest.approx(300, rel=0.1)
    assert followed["tokens_per_second"] == 100


def test_equal_seeds_give_equal_bits_and_too_few_clips_are_an_error():
    codes = [np.arange(40).reshape(2, 20) % 8 for _ in range(8)]
    first, again = (make_job(codes, 2).run(frozenset(), "cpu") for _ in range(2))
    assert first == again
    few = make_job(codes[:1], 2)
    (failed,) = run_job(few, frozenset(few.keys), "cpu").values()
    assert "too few clips" in failed["error"]
