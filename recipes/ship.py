"""Round a trained codec to half precision and put it where the package carries it.

    python -m toneme.recipes.ship runs/toneme_24k/codec codecs/weights/toneme-24k

Half the size; the codec that ships is the rounded one, widened on load, and all its figures are measured on that.
"""

import argparse
import json
from pathlib import Path

import torch

from ..codecs.checkpoint import read_weights, save_weights
from ..codecs.config import read_config
from ..codecs.errors import CheckpointError
from .program import run_program


def ship(source: Path, target: Path) -> int:
    """Write the rounded codec and return its size in bytes.

    Raises:
        CheckpointError: if the codec cannot be read, or a weight does not fit into half precision.
    """
    weights = {name: tensor.half() for name, tensor in read_weights(source / "model.safetensors").items()}
    wild = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if wild:
        raise CheckpointError(f"{', '.join(wild)} holds values beyond half precision: train with a lower learning_rate")
    target.mkdir(parents=True, exist_ok=True)
    save_weights(weights, target / "model.safetensors")
    (target / "config.json").write_text(json.dumps(read_config(source), indent=2) + "\n")
    return (target / "model.safetensors").stat().st_size


def main() -> None:
    """Ship from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    print(f"{ship(given.source, given.target) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_program(main)
