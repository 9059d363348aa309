"""Numbers that official code gave on made weights and waveforms; tests/goldens/training/make.py tells how."""

import importlib.util
from pathlib import Path

import numpy as np

GOLDENS = Path(__file__).parents[1] / "goldens" / "training"


def _weights():
    spec = importlib.util.spec_from_file_location("goldens_training_weights", GOLDENS / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _weights()


def golden(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of one file."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def check_close(ours, theirs: np.ndarray, tolerance: float = 2e-4) -> None:
    """Fail unless the error is below a share of the largest number: float32 sums in another order differ by about 1e-5."""
    ours = np.asarray(ours, dtype=np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()
