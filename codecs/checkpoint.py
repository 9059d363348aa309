"""Weights in and out: safe reading, one error that lists every key that does not fit, weight-norm folding, hashes."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .errors import CheckpointError
from .files import atomic_path

HASHED_AT_ONCE = 1 << 20  # bytes
SAVED_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


def save_weights(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Write tensors to a `.safetensors` file; an interrupted write leaves no file behind.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    with atomic_path(path) as partial:
        mode = partial.stat().st_mode
        try:
            save_file(plain, partial)
            partial.chmod(mode)  # safetensors makes it readable by nobody else
        except SafetensorError as error:  # tells the system's errors by their numbers alone
            number = int(found[1]) if (found := re.search(r"(?:os error|Os { code:) (\d+)", str(error))) else 0
            raise (OSError(number, os.strerror(number), str(path), number) if number else error) from None


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"no weights at {path}: a codec folder has config.json and model.safetensors")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error}): fetch or convert it again") from None


class Undrawn(TorchFunctionMode):
    """Leaves tensors as they are that layers would fill with random numbers."""

    DRAWS = (Tensor.uniform_, Tensor.normal_, nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.DRAWS:
            return args[0] if args else kwargs["tensor"]  # as torch.nn.init passes it
        return func(*args, **(kwargs or {}))


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Load a `.safetensors` file into a module, all keys or none; half-precision weights widen to the module's type.

    Raises:
        CheckpointError: if the file or its keys do not fit.
    """
    load_exactly(module, read_weights(path), str(path), take=getattr(module, "large", False))


def load_exactly(module: nn.Module, weights: Mapping[str, Tensor], source: str, take: bool = False) -> None:
    """Load tensors under the module's own names; `take` those given, which then must be nobody else's, instead of copies.

    Raises:
        CheckpointError: one error that lists missing, unexpected and misshapen keys.
    """
    expected = module.state_dict()
    problems = compare_keys({k: tuple(v.shape) for k, v in expected.items()}, {k: tuple(v.shape) for k, v in weights.items()})
    if problems:
        raise CheckpointError(f"{source} does not fit {type(module).__name__}: {problems}")
    if take or any(tensor.is_meta for tensor in expected.values()):  # a module made without memory has no room for copies
        module.load_state_dict({name: weights[name].to(tensor.dtype) for name, tensor in expected.items()}, assign=True)
    else:
        with torch.no_grad():
            for name, tensor in expected.items():
                tensor.copy_(weights[name])


def load_official(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    tables: Sequence[Mapping[str, str | tuple[str, ...]]],
    source: str,
    ignored: str = r"$^",
) -> None:
    """Load tensors under the names that others gave them, weight norm multiplied out.

    Args:
        module: takes the tensors; the tables name all of its own.
        weights: official name -> tensor.
        tables: our name -> official name, or several whose tensors are stacked; one table per known way of naming.
        source: what to call the weights in an error.
        ignored: regular expression of official names that may be there and are not needed.

    Raises:
        CheckpointError: one error that lists missing, unexpected and misshapen keys.
    """
    weights = {name: tensor for name, tensor in weights.items() if not re.search(ignored, name)}
    expected = [_official_shapes(module, weights, names) for names in tables]
    best = max(range(len(tables)), key=lambda i: sum(name in weights for name in expected[i]))
    if problems := compare_keys(expected[best], {name: tuple(tensor.shape) for name, tensor in weights.items()}):
        raise CheckpointError(f"{source} does not fit {type(module).__name__}: {problems}")
    folded = fold_weight_norm(weights)
    own = {
        ours: folded[theirs] if isinstance(theirs, str) else torch.stack([folded[name] for name in theirs])
        for ours, theirs in tables[best].items()
    }
    load_exactly(module, own, source)


def _official_shapes(
    module: nn.Module, weights: Mapping[str, Tensor], names: Mapping[str, str | tuple[str, ...]]
) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for ours, tensor in module.state_dict().items():
        theirs = names[ours]
        if not isinstance(theirs, str):
            shapes |= dict.fromkeys(theirs, tuple(tensor.shape[1:]))
        elif (halves := _norm_halves(theirs, weights)) is None:
            shapes[theirs] = tuple(tensor.shape)
        else:
            shapes[halves[0]] = (tensor.shape[0],) + (1,) * (tensor.ndim - 1)
            shapes[halves[1]] = tuple(tensor.shape)
    return shapes


def _norm_halves(name: str, weights: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Return the names of gain and direction where the weights hold either in place of the plain tensor."""
    stem = name.removesuffix("weight")
    for halves in ((f"{name}_g", f"{name}_v"), tuple(f"{stem}parametrizations.weight.original{i}" for i in (0, 1))):
        if name.split(".")[-1] == "weight" and name not in weights and any(half in weights for half in halves):
            return halves[0], halves[1]
    return None


def compare_keys(expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], most: int = 8) -> str:
    """Return one clause per kind of difference between two tables of shapes, or "" where they agree."""
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    misshapen = [
        f"{name} {list(given[name])} (expected {list(shape)})"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    clauses = [("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)]
    return "; ".join(f"{len(names)} {kind}: {_some(names, most)}" for kind, names in clauses if names)


def _some(names: list[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def read_checkpoint(source: str | Path | Mapping) -> Mapping:
    """Return the content of an official checkpoint: a path (`.safetensors`, or a pickle) or the object.

    No code of a pickle is run. Published ones hold settings, paths and buffers beside their tensors: those are left out.

    Raises:
        CheckpointError: if the file is missing, a folder, not a checkpoint, or cannot be read without running code from it.
    """
    if isinstance(source, Mapping):
        return source
    path = Path(source)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, and a checkpoint is a file: pass the one in it that holds the weights")
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {path}: download it first; OFFICIAL.md, beside toneme's codecs, says where it is"
        )
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        content = _around_strays(path, str(error).split("\n")[0][:200])
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict: save the state_dict() of the module")
    return content


def _around_strays(path: Path, reason: str) -> Any:
    from .unpickling import read_tensors

    try:
        return read_tensors(path)
    except Exception:  # as above
        raise CheckpointError(f"{path} cannot be read as a checkpoint without running code from it ({reason})") from None


def tensors_of(checkpoint: Mapping, source: str = "the checkpoint") -> dict[str, Tensor]:
    """Return name -> tensor of a checkpoint, unwrapped from `state_dict`, `model` and the like.

    Arrays that are not tensors (numpy) are converted; other objects beside the weights are left out. Where there are only
    mappings of tensors (BigCodec's parts), their names are joined: `generator.model.0.bias`.

    Raises:
        CheckpointError: if no tensors are in it.
    """
    for wrapper in ("state_dict", "model_state_dict", "model", "best_state"):
        if isinstance(inner := checkpoint.get(wrapper), Mapping):
            return tensors_of(inner, source)
    tensors = {str(k): torch.as_tensor(v) for k, v in checkpoint.items() if isinstance(v, Tensor) or hasattr(v, "__array__")}
    parts = {k: v for k, v in checkpoint.items() if isinstance(v, Mapping)}
    if not tensors:
        tensors = {f"{part}.{k}": v for part, inner in parts.items() for k, v in inner.items() if isinstance(v, Tensor)}
    if not tensors:
        raise CheckpointError(f"{source} holds no tensors: expected a state dict, bare or under the key state_dict")
    return tensors


def fold_weight_norm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with every weight-norm pair multiplied out: w = g * v / |v|, the norm over all but axis 0.

    Both spellings are folded: `weight_g`, `weight_v` and `parametrizations.weight.original0`, `original1`.
    Source: Salimans and Kingma, "Weight Normalization", 2016, equation 2.

    Raises:
        CheckpointError: if one half of a pair is missing.
    """
    folded = {}
    for name, tensor in weights.items():
        if (partner := _norm_partner(name)) is None:
            folded[name] = tensor
        elif partner[1] not in weights:
            raise CheckpointError(f"{name} has no {partner[1]}: weight norm needs both halves")
        elif partner[2]:
            folded[partner[0]] = _multiply_out(tensor.float(), weights[partner[1]].float())
    return folded


def _multiply_out(direction: Tensor, gain: Tensor) -> Tensor:
    return direction * (gain / direction.norm(dim=tuple(range(1, direction.ndim)), keepdim=True))


def _norm_partner(name: str) -> tuple[str, str, bool] | None:
    """Return (plain name, the other half's name, whether `name` is the direction), or None for other tensors."""
    for gain, direction in (("weight_g", "weight_v"), tuple(f"parametrizations.weight.original{i}" for i in (0, 1))):
        for end, other in ((gain, direction), (direction, gain)):
            stem = name.removesuffix(end)
            if stem != name and (not stem or stem.endswith(".")):
                return f"{stem}weight", stem + other, end == direction
    return None


def hash_weights(config: Mapping, weights: Mapping[str, Tensor], saved: str | Path | None = None) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a configuration and its weights, order-independent.

    Where the weights were just taken from the `.safetensors` file `saved`, it is read instead, so that what is mapped into
    memory is not loaded for this alone.
    """
    digest = hashlib.sha256(json.dumps({k: v for k, v in config.items() if k != "name"}, sort_keys=True).encode())
    with open(saved, "rb") if saved else contextlib.nullcontext() as file:
        places = _places(file) if file else {}
        for name in sorted(weights):
            tensor = weights[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            start, end, kind = places.get(name, (0, 0, None))
            if file and kind == tensor.dtype:
                file.seek(start)
                for at in range(start, end, HASHED_AT_ONCE):
                    digest.update(file.read(min(HASHED_AT_ONCE, end - at)))
            elif tensor.numel():
                digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _places(file: BinaryIO) -> dict[str, tuple[int, int, torch.dtype | None]]:
    """Return where the bytes of each tensor of a `.safetensors` file begin and end, and their type where weights have it."""
    size = int.from_bytes(file.read(8), "little")
    header = {name: about for name, about in json.loads(file.read(size)).items() if name != "__metadata__"}
    return {
        name: (*(8 + size + at for at in about["data_offsets"]), SAVED_TYPES.get(about["dtype"]))
        for name, about in header.items()
    }
