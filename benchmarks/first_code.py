"""What is said, from the first code of every frame: digits of speakers that a classifier did not hear.

    python -P benchmarks/first_code.py CODEC... --data CORPUS

CORPUS has `probes/digits.csv` with columns path, label and speaker. A recording is cut into six parts, and described by the
mean of the first codes' vectors in each; logistic regression learns of all speakers but one, and is asked about that one, in
turn. A codec whose first codebook has numbers for a teacher (`taught_dim`) has a second line, of these alone. A codebook for
sound alone is far from chance, 10 %, as well.
"""

import argparse
import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import toneme

PARTS, PENALTY, ROUNDS = 6, 3e-3, 60


def described(vectors: Tensor) -> Tensor:
    """Return the means [parts * dim] of vectors [frames, dim] in equal parts of the time."""
    edges = torch.linspace(0, len(vectors), PARTS + 1).round().long().tolist()
    return torch.cat([vectors[min(a, len(vectors) - 1) : max(b, a + 1)].mean(0) for a, b in pairwise(edges)])


def right(x: Tensor, labels: Tensor, heard: Tensor) -> float:
    """Return the share of recordings that are not `heard` whose label logistic regression tells."""
    x = (x - x[heard].mean(0)) / (x[heard].std(0) + 1e-6)
    weight = torch.zeros(x.shape[1] + 1, int(labels.max()) + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=ROUNDS)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x[heard] @ weight[1:] + weight[0], labels[heard]) + PENALTY * weight[1:].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return ((x @ weight[1:] + weight[0]).argmax(1) == labels)[~heard].float().mean().item()


@torch.no_grad()
def vectors_of(codec: Any, rows: list[dict[str, str]], folder: Path) -> list[Tensor]:
    """Return the vectors [frames, dim] of the first codes of each recording."""
    book = codec.quantizer.codebooks[0]
    return [book[codec.encode(*toneme.read_audio(folder / row["path"])).streams[0][0, 0]] for row in rows]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codecs", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    with (given.data / "probes" / "digits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels, speakers = torch.tensor([int(row["label"]) for row in rows]), [row["speaker"] for row in rows]
    print("| codec | vectors | digits right, speaker not heard |\n|---|---|---|")
    for name in given.codecs:
        codec: Any = toneme.load(name)
        own = codec.quantizer.dim - getattr(codec.quantizer, "private", 0)
        found = vectors_of(codec, rows, given.data)
        for place, kind in [(0, "whole")] + [(own, "for the teacher")] * (own < codec.quantizer.dim):
            x = torch.stack([described(vectors[:, place:]) for vectors in found])
            shares = [right(x, labels, torch.tensor([s != speaker for s in speakers])) for speaker in sorted(set(speakers))]
            print(f"| {name} | {kind} | {100 * sum(shares) / len(shares):.1f} % |")


if __name__ == "__main__":
    main()
