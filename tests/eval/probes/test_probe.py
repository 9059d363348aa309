"""Probes: padding changes nothing, and fronts do what they say."""

import torch

from toneme.eval.probes.probe import Classifier, CodeFront, FeatureFront, Transcriber


def test_padding_changes_no_score():
    torch.manual_seed(0)
    codes = torch.randint(8, (1, 9, 2))
    padded = torch.nn.functional.pad(codes, (0, 0, 0, 5))
    for probe in (Classifier(CodeFront((8, 8)), 3).eval(), Transcriber(CodeFront((8, 8)), 5, repeats=2).eval()):
        alone, among = probe(codes, torch.tensor([9])), probe(padded, torch.tensor([9]))
        torch.testing.assert_close(alone, among[:, : alone.shape[1]])


def test_tables_of_codebooks_are_apart():
    front = CodeFront((4, 6, 5))
    assert front.first.tolist() == [0, 4, 10]
    embedded, weights = front.attend(torch.tensor([[[3, 5, 4]]]))
    torch.testing.assert_close(embedded[0, 0], front.tables.weight[[3, 9, 14]])
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 1))


def test_features_are_set_to_mean_0_and_variance_1():
    features = 5 + 3 * torch.randn(1, 4000, 2, generator=torch.Generator().manual_seed(0))
    front = FeatureFront(features[0].mean(0), features[0].std(0))
    torch.nn.init.eye_(front.project.weight)
    torch.nn.init.zeros_(front.project.bias)
    set_to = front(features)[0, :, :2]
    torch.testing.assert_close(set_to.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(set_to.std(0), torch.ones(2), atol=1e-3, rtol=0)


def test_repeated_frames_are_told_apart():
    torch.manual_seed(0)
    probe = Transcriber(CodeFront((8,)), 5, repeats=3).eval()
    scores = probe(torch.randint(8, (2, 4, 1)), torch.tensor([4, 2]))
    assert scores.shape == (2, 12, 5)
    assert not torch.allclose(scores[0, 0], scores[0, 1])
