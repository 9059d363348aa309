"""A graph in files: as one, or with its weights in a second one beside it, which a session maps into memory and does not copy.

Read from within the graph, weights are copied twice: mapped, they take half of the time and two thirds of the memory to load.
Graphs that go frame by frame stay one file, for the browser page loads them.
"""

import shutil
from pathlib import Path
from typing import Any

from .manifest import Side

LEAST = 1024  # bytes from which a constant is put beside the graph


def beside(path: Path) -> Path:
    """Return where the weights of a graph are that are not in its file."""
    return path.with_suffix(".data")


def files_of(folder: Path, side: Side) -> list[Path]:
    """Return the files of a direction that are there, the graph last: what it needs is there before it."""
    graph = folder / side.file
    return [path for path in (beside(graph), graph) if path.is_file()]


def write_graph(model: Any, folder: Path, side: Side) -> None:
    """Write a direction's ONNX model in place of the one that is there; in chunks, its weights are then in the file alone."""
    path = folder / side.file
    for old in files_of(folder, side):
        old.unlink()
    if side.mode == "steps":
        path.write_bytes(model.SerializeToString())
        return
    import onnx

    onnx.save_model(model, str(path), save_as_external_data=True, location=beside(path).name, size_threshold=LEAST)
    if beside(path).exists():
        shutil.copymode(path, beside(path))  # onnx makes it readable by nobody else
