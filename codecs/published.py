"""Official codecs that were published in several files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .checkpoint import read_checkpoint, tensors_of
from .errors import CheckpointError

if TYPE_CHECKING:
    from .base import Codec


@dataclass(frozen=True)
class Published:
    """Builds a codec of the weights in several files.

    Attributes:
        build: takes tensors, whose names begin with their part's and a dot; an array's name is its part's and a dot.
        files: part -> patterns of its file in a folder; the first that any file fits counts.
    """

    build: "Callable[[Mapping[str, Tensor]], Codec]"
    files: Mapping[str, tuple[str, ...]]

    def __call__(self, weights: Mapping[str, Tensor]) -> "Codec":
        return self.build(weights)

    def read(self, checkpoint: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the tensors of a folder of the published files, or of a mapping of each part to its file or content.

        Raises:
            CheckpointError: if a part is missing or cannot be read.
        """
        parts = self.find(Path(checkpoint)) if isinstance(checkpoint, str | Path) else checkpoint
        if not isinstance(parts, Mapping) or set(parts) != set(self.files):
            given = sorted(map(str, parts)) if isinstance(parts, Mapping) else type(parts).__name__
            raise CheckpointError(
                f"this checkpoint has the parts {', '.join(self.files)}; got {given}: pass a folder or a mapping of all of them"
            )
        return {f"{part}.{name}": tensor for part in self.files for name, tensor in _tensors(parts[part], part).items()}

    def find(self, folder: Path) -> dict[str, Path]:
        """Return the file of each part.

        Raises:
            CheckpointError: if a part has no file, or more than one.
        """
        if not folder.is_dir():
            raise CheckpointError(f"{folder} is no folder: pass the one that holds the published {', '.join(self.files)}")
        return {part: _only(folder, part, patterns) for part, patterns in self.files.items()}


def _only(folder: Path, part: str, patterns: tuple[str, ...]) -> Path:
    found = next(filter(None, (sorted(folder.glob(pattern)) for pattern in patterns)), [])
    if len(found) != 1:
        raise CheckpointError(
            f"{folder} must hold one file for the part {part}, named {' or '.join(patterns)}; found {len(found)}: pass a "
            "mapping of parts to files, or a name that says which"
        )
    return found[0]


def _tensors(content: Any, part: str) -> dict[str, Tensor]:
    if isinstance(content, str | Path) and Path(content).suffix == ".npy":
        return {"": _array(Path(content))}
    if isinstance(content, Tensor) or hasattr(content, "__array__"):
        return {"": torch.as_tensor(content)}
    if callable(state_dict := getattr(content, "state_dict", None)):
        content = state_dict()
    if not isinstance(content, str | Path | Mapping):
        raise CheckpointError(
            f"the part {part} of a checkpoint is a path, a mapping of names to tensors, a module or an array; "
            f"got {type(content).__name__}"
        )
    return tensors_of(read_checkpoint(content), "the checkpoint" if isinstance(content, Mapping) else str(content))


def _array(path: Path) -> Tensor:
    import numpy as np

    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable array ({error}): download the official file again") from None
