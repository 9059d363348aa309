"""k-means, whole and streaming."""

import torch

from toneme.quantizers.kmeans import KMeansTokenizer, kmeans


def blobs(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    label = torch.arange(n) % 4
    return centres[label] + 0.1 * torch.randn(n, 2, generator=generator), label


def test_whole_finds_the_blobs():
    rows, label = blobs(400, torch.Generator().manual_seed(0))
    centres, codes = kmeans(rows, 4, 20, torch.Generator().manual_seed(1))
    assert all(codes[label == i].unique().numel() == 1 for i in range(4))
    assert torch.allclose(centres[codes[:4]], torch.stack([rows[label == i].mean(0) for i in range(4)]), atol=1e-5)


def test_centres_begin_where_they_are_told():
    rows, _ = blobs(400, torch.Generator().manual_seed(0))
    start = torch.tensor([[9.0, 9.0], [1.0, 9.0], [9.0, 1.0], [1.0, 1.0]])
    centres, codes = kmeans(rows, 4, 1, start=start)
    assert torch.equal(codes[:4], torch.tensor([3, 2, 1, 0]))
    torch.testing.assert_close(centres[0], rows[3::4].mean(0))
    assert start[0, 0] == 9  # as it was


def test_streaming_reaches_the_error_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    rows = torch.randn(6000, 8, generator=generator)
    centres, codes = kmeans(rows, 32, 30, generator)
    whole = (rows - centres[codes]).square().mean()
    tokenizer = KMeansTokenizer(8, 32)
    assert not tokenizer.fitted
    for _ in range(3):
        for batch in rows.split(150):
            tokenizer.partial_fit(batch.T[None])
    error = tokenizer(rows.T[None]).commitment
    assert error < 1.05 * whole
    assert tokenizer(rows.T[None]).usage.item() == 1


def test_centres_are_the_mean_of_all_they_were_given():
    tokenizer = KMeansTokenizer(1, 1, start_rows=2)
    tokenizer.partial_fit(torch.tensor([[[1.0, 3.0]]]))
    tokenizer.partial_fit(torch.tensor([[[5.0, 7.0, 9.0]]]))
    assert tokenizer.centres.item() == 5.0


def test_the_first_centres_wait_for_enough_rows():
    tokenizer = KMeansTokenizer(2, 4, start_rows=100)
    first, second = (blobs(60, torch.Generator().manual_seed(seed))[0] for seed in (0, 1))
    tokenizer.partial_fit(first.T[None])
    assert not tokenizer.fitted
    tokenizer.partial_fit(second.T[None])
    assert tokenizer.fitted
    assert tokenizer.counts.sum() == 120
    tokenizer.partial_fit(first.T[None])
    assert tokenizer.counts.sum() == 180


def test_a_dead_centre_takes_over_a_row_and_keeps_it_however_much_was_seen_before():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    tokenizer = KMeansTokenizer(2, 5, start_rows=100)
    tokenizer.partial_fit(blobs(100, generator)[0].T[None])
    tokenizer.centres[:4], tokenizer.centres[4] = blobs(4, generator)[0], 1000.0  # which no row is near to
    tokenizer.counts[:4], tokenizer.counts[4] = 40_000, 7  # as after thousands of batches
    places = []
    for _ in range(3):
        tokenizer.partial_fit(blobs(100, generator)[0].T[None])
        places.append(tokenizer.centres[4].clone())
    assert (places[0].abs() < 11).all()
    assert torch.dist(places[0], places[2]) < 0.5, "it is moved to a row of another blob by the next batch"
    assert (tokenizer.counts > 300).all()


def test_features_of_no_frames_change_nothing():
    tokenizer = KMeansTokenizer(2, 4, start_rows=100)
    tokenizer.partial_fit(blobs(100, torch.Generator().manual_seed(0))[0].T[None])
    tokenizer.counts[0] = 0
    before = tokenizer.centres.clone()
    tokenizer.partial_fit(torch.zeros(1, 2, 0))
    assert torch.equal(tokenizer.centres, before)
