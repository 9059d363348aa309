"""Fitting: what can be learned is, what cannot stays at chance, and equal seeds give equal figures."""

import random

import pytest
import torch

from toneme.eval.probes.features import Features
from toneme.eval.probes.fitting import Budget, Part, errors, fit_characters, fit_classes, read_text

CLASSES, SIZES = 4, (16, 16)
SMALL = Budget(steps=120, batch=16, rate=4e-3, seeds=(0,))


class Made(Features):
    label, identity, frame_rate = "made", "made", 50.0

    def __init__(self, sizes):
        self.sizes = sizes

    def read(self, clip, device):
        raise NotImplementedError


def make_part(shuffled=False, count=160):
    """Return codes [frames, 2] whose second codebook tells the class in a third of the frames; the first is noise."""
    draw = torch.Generator().manual_seed(0)
    labels = [i % CLASSES for i in range(count)]
    inputs = []
    for label in labels:
        codes = torch.randint(16, (10 + label, 2), generator=draw)
        codes[::3, 1] = 3 * label
        inputs.append(codes)
    names = [str(label) for label in labels]
    if shuffled:
        random.Random(0).shuffle(names)
    half = count // 2
    return Part(inputs[:half], names[:half], inputs[half:], names[half:])


def accuracy(found):
    return sum(hit for hit, _ in found["values"]["accuracy"]) / len(found["values"]["accuracy"])


def test_what_tokens_tell_is_learned_and_attention_goes_where_it_is():
    found = fit_classes(make_part(), Made(SIZES), SMALL, 0)
    assert accuracy(found) > 0.9
    assert found["attention"][1] > 0.4  # where 0.27 is what it begins with
    assert sum(found["attention"]) == pytest.approx(1)


def test_shuffled_labels_stay_at_chance():
    assert accuracy(fit_classes(make_part(shuffled=True), Made(SIZES), SMALL, 0)) < 0.45


def test_continuous_features_are_learned():
    part = make_part()
    spread = [[torch.nn.functional.one_hot(x[:, 1], 16) * 100.0 - 7 for x in inputs] for inputs in (part.train, part.test)]
    found = fit_classes(Part(spread[0], part.labels, spread[1], part.answers), Made(()), SMALL, 0)
    assert accuracy(found) > 0.9
    assert found["attention"] == []


def test_equal_seeds_give_equal_figures_and_leave_the_global_one_alone():
    part, brief = make_part(), Budget(steps=5, batch=16, rate=4e-3, seeds=(0,))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (fit_classes(part, Made(SIZES), brief, seed) for seed in (0, 0, 1))
    assert first == again
    assert first["attention"] != other["attention"]
    assert torch.equal(torch.get_rng_state(), before)


def test_characters_are_read_from_slow_tokens():
    draw = random.Random(0)
    texts = ["".join(draw.sample("abcd", 3)) for _ in range(60)]
    inputs = [torch.tensor([[4 * "abcd".index(c)] for c in text]) for text in texts]
    features = Made((16,))
    features.frame_rate = 25.0  # one frame for each character, repeated once
    found = fit_characters(Part(inputs[:40], texts[:40], inputs[40:], texts[40:]), features, Budget(90, 8, 1e-2, (0,)), 0)
    wrong, whole = (sum(column) for column in zip(*found["values"]["cer"], strict=True))
    assert whole == 60
    assert wrong / whole < 0.1
    assert found["texts"][0] == texts[40]


def test_texts_of_frames_and_their_errors():
    assert read_text(torch.tensor([0, 1, 1, 0, 1, 2, 2, 0]), ["a", "b"]) == "aab"
    assert errors("the cat sat", "the hat sat down", words=True) == [2, 3]
    assert errors("abcd", "abd", words=False) == [1, 4]
    assert errors("abcd", "", words=False) == [4, 4]
