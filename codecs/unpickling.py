"""The tensors of a PyTorch file that holds objects of other classes too, of which none is made and no function is run."""

import pickle
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2

from .errors import CheckpointError

REBUILDS = {"_rebuild_tensor_v2": _rebuild_tensor_v2, "_rebuild_parameter": _rebuild_parameter}


class Inert:
    """Stands for an object whose class is not known to be harmless, and takes whatever a pickle does to it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "Inert":
        return Inert()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    __setstate__ = append = extend = add = update = __call__


class TensorUnpickler(pickle.Unpickler):
    """Makes tensors and plain values; an `Inert` is in place of everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what the pickle may call for a name: new objects, since it can also change what it finds, or a fixed type."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in REBUILDS:
            return lambda *args: REBUILDS[name](*args)
        return type("Inert", (Inert,), {})


def read_tensors(path: Path) -> Any:
    """Return the content of a file that `torch.save` wrote.

    Raises:
        CheckpointError: if it is of another format, or of none.
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = {name.split("/")[-1] for name in file.namelist()}
    except (zipfile.BadZipFile, OSError):
        names = set()
    if "data.pkl" not in names or "constants.pkl" in names:  # the latter are programs, which torch.load would run otherwise
        raise CheckpointError(f"{path} is not a file of tensors as torch.save writes it")
    module = types.ModuleType("tensors")
    module.Unpickler = TensorUnpickler  # pyright: ignore[reportAttributeAccessIssue]
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)
