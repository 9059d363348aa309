"""Probes: padding changes nothing, and fronts do what they say."""

import torch

from toneme.eval.probes.probe import BothWays, Classifier, CodeFront, FeatureFront, Transcriber


def test_padding_changes_no_score():
    torch.manual_seed(0)
    codes = torch.randint(8, (1, 9, 2))
    padded = torch.nn.functional.pad(codes, (0, 0, 0, 5))
    probes = [Transcriber(CodeFront((8, 8)), 5, repeats, joined) for repeats, joined in ((2, 1), (1, 1), (1, 4))]
    for probe in (Classifier(CodeFront((8, 8)), 3), *probes):
        alone, among = probe.eval()(codes, torch.tensor([9])), probe(padded, torch.tensor([9]))
        torch.testing.assert_close(alone, among[:, : alone.shape[1]])


def test_an_lstm_both_ways_is_that_of_pytorch_where_nothing_is_padded():
    torch.manual_seed(0)
    ours, theirs = BothWays(3, 4), torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    for own, suffix in ((ours.ahead, ""), (ours.back, "_reverse")):
        theirs.load_state_dict({f"{k}{suffix}": v for k, v in own.state_dict().items()}, strict=False)
    x = torch.randn(2, 7, 3)
    torch.testing.assert_close(ours(x, torch.tensor([7, 7])), theirs(x)[0])


def test_frames_joined_are_counted_upwards():
    probe = Transcriber(CodeFront((8,)), 5, joined=3)
    assert probe.frames(torch.tensor([1, 3, 4])).tolist() == [1, 1, 2]
    assert probe(torch.zeros(3, 4, 1, dtype=torch.int64), torch.tensor([1, 3, 4])).shape == (3, 2, 5)


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
