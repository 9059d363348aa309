"""How an exported codec must agree with the codec that it was made of: codes save certified ties, audio within rounding."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Latents of the two differ by sums in another order, some 1e-6 of their length; twice that times a code's length is what a
# score can differ by. Two codes closer than that are a tie.
TIE = 1e-5
AUDIO = 1e-5  # of samples about 1, likewise sums in another order


def check_codes(codes: np.ndarray, latents: Tensor, codebooks: Tensor) -> None:
    """Each code is the best one, or tied with it, for what the codes before it left of the latents.

    Args:
        codes: [batch, depth, frames].
        latents: PyTorch's [batch, dim, frames].
        codebooks: [depth or more, size, dim].
    """
    residual = latents.detach().double().transpose(1, 2).reshape(-1, latents.shape[1])
    rows = torch.from_numpy(codes).transpose(1, 2).reshape(len(residual), -1)
    for stage, code in enumerate(rows.unbind(1)):
        book = codebooks[stage].detach().double()
        scores = residual @ book.T - book.square().sum(1) / 2
        behind = scores.amax(1) - scores.gather(1, code[:, None])[:, 0]
        slack = TIE * residual.norm(dim=1) * book.norm(dim=1).max()
        assert (behind <= slack).all(), f"stage {stage}: {int((behind > slack).sum())} of {len(code)} codes are not the nearest"
        residual = residual - book[code]


def check_share(codes: np.ndarray, expected: np.ndarray, least: float = 0.999) -> None:
    """Hardly any choice differs: ties are rare.

    After a tie the codebooks that follow, where they are residual ones, see another residual: their codes are no choices
    between the same candidates, and are not counted.

    Args:
        codes: [batch, depth, frames].
        expected: Likewise.
        least: The share of choices, as many as there are codes up to the first that differs in each frame.
    """
    assert codes.shape == expected.shape
    wrong = codes != expected
    until = np.cumsum(wrong, axis=1) - wrong == 0
    share = 1 - (wrong & until).sum() / until.sum()
    assert share >= least, f"only {share:.3%} of codes are equal"


def partitions(total: int, sizes: Sequence[int], seed: int | None = None) -> list[tuple[int, int]]:
    """Return (start, stop) of pieces that go round through `sizes`, or are drawn from them where a seed is given."""
    draw = np.random.default_rng(seed) if seed is not None else None
    spans, start, turn = [], 0, 0
    while start < total:
        size = int(draw.choice(sizes)) if draw else sizes[turn % len(sizes)]
        spans.append((start, min(total, start + size)))
        start, turn = spans[-1][1], turn + 1
    return spans


def encode_in_pieces(encoder, audio: np.ndarray, spans: list[tuple[int, int]]) -> np.ndarray:
    """Return the codes of audio [batch, channels, samples] pushed in pieces."""
    pieces = [encoder.push(audio[..., start:stop]) for start, stop in spans]
    return np.concatenate([*pieces, encoder.flush()], axis=-1)


def decode_in_pieces(decoder, codes: np.ndarray, spans: list[tuple[int, int]], n_samples: int) -> np.ndarray:
    """Return the audio of codes pushed in pieces."""
    pieces = [decoder.push(codes[..., start:stop], n_samples) for start, stop in spans]
    return np.concatenate([*pieces, decoder.flush(n_samples)], axis=-1)
