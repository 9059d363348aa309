"""The state of a run on disk: exact ones, the newest few of them, and a compact one."""

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..codecs.files import atomic_path
from .codebooks import moving_codebooks
from .compact import pack_average, pack_optimizer, pack_weights, unpack_all, unpack_average
from .errors import TrainingError

if TYPE_CHECKING:
    from .trainer import Trainer

VERSION = 1
COMPACT = "compact.pt"


def gather(trainer: "Trainer") -> dict[str, Any]:
    """Return all that a resumed run needs to take the steps that the whole run would have taken.

    What is drawn at a step depends on the seed and the step alone, so no generator's state is here.
    """
    state: dict[str, Any] = {
        "version": VERSION,
        "step": trainer.step,
        "started": trainer.started,
        "codec": trainer.model.codec.config_dict(),
        "model": trainer.model.state_dict(),
        "average": trainer.average.weights,
        "kept": bool(trainer.recipe.learns),  # whether what does not learn must stay as it is to the bit
        "statistics": {
            name: {"counts": book.counts, "sums": book.sums} for name, book in moving_codebooks(trainer.model).items()
        },
        "optimizer": trainer.optimizer.state_dict(),
        "usage": trainer.usage.state(),
    }
    if trainer.balancer is not None:
        state["balancer"] = trainer.balancer.state_dict()
    if trainer.critics is not None and trainer.critics_optimizer is not None:
        state["critics"] = trainer.critics.state_dict()
        state["critics_optimizer"] = trainer.critics_optimizer.state_dict()
    return state


def restore(trainer: "Trainer", state: dict[str, Any]) -> None:
    """Put a run where `gather` was.

    Raises:
        TrainingError: if the state is of another recipe.
    """
    _check(trainer, state)
    trainer.step, trainer.started = state["step"], state["started"]
    trainer.model.load_state_dict(state["model"])
    for name, value in state["average"].items():
        trainer.average.weights[name].copy_(value)
    for name, book in moving_codebooks(trainer.model).items():
        book.counts.copy_(state["statistics"][name]["counts"])
        book.sums.copy_(state["statistics"][name]["sums"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.usage.load(state["usage"])
    if trainer.balancer is not None and "balancer" in state:
        trainer.balancer.load_state_dict(state["balancer"])
    if trainer.critics is not None and trainer.critics_optimizer is not None and "critics" in state:
        trainer.critics.load_state_dict(state["critics"])
        trainer.critics_optimizer.load_state_dict(state["critics_optimizer"])
    trainer.batches.seek(trainer.step * trainer.recipe.accumulate)


def _check(trainer: "Trainer", state: dict[str, Any]) -> None:
    if state.get("version") != VERSION:
        raise TrainingError(f"the state is of version {state.get('version')}, and this version reads {VERSION}: start anew")
    ours = trainer.model.codec.config_dict()
    if state["codec"]["family"] != ours["family"] or state["codec"]["config"] != ours["config"]:
        raise TrainingError("the state is of a codec with another configuration: resume with the recipe.yaml beside it")


def shrink(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state in its compact form; codebooks and what a recipe lets not learn stay as they are.

    Sums follow from codebooks and counts.
    """
    exact = {f"{name}.codebooks".lstrip(".") for name in state["statistics"]}
    if state["kept"]:
        exact |= state["model"].keys() - state["average"].keys()
    model = pack_weights(state["model"], exact=exact)
    small = {
        **state,
        "compact": True,
        "model": model,
        "average": pack_average(state["average"], model),
        "statistics": {name: {"counts": entry["counts"]} for name, entry in state["statistics"].items()},
        "optimizer": pack_optimizer(state["optimizer"]),
    }
    if "critics" in state:
        small["critics"] = pack_weights(state["critics"], exact=set())
        small["critics_optimizer"] = pack_optimizer(state["critics_optimizer"])
    return small


def expand(small: dict[str, Any]) -> dict[str, Any]:
    """Return the state that a compact one stands for."""
    model = unpack_all(small["model"])
    state = {**small, "model": model, "average": unpack_average(small["average"], model)}
    state["statistics"] = {
        name: {"counts": entry["counts"], "sums": _sums(model, name, entry["counts"])}
        for name, entry in small["statistics"].items()
    }
    for key in ("optimizer", "critics", "critics_optimizer"):
        if key in small:
            state[key] = unpack_all(small[key])
    return state


def _sums(model: dict[str, Tensor], name: str, counts: Tensor) -> Tensor:
    return model[f"{name}.codebooks".lstrip(".")] * counts[..., None]


def save_state(trainer: "Trainer", folder: Path) -> None:
    """Write the exact state, remove all but the newest, and write the compact one where the recipe wants it."""
    state = gather(trainer)
    write_exact(state, folder, trainer.recipe.saving.keep)
    if trainer.recipe.saving.compact:
        write_file(shrink(state), folder / COMPACT)


def load_state(trainer: "Trainer", folder: Path) -> Path:
    """Resume from the newest exact state that can be read, else from the compact one; return which it was.

    Raises:
        TrainingError: if there is none.
    """
    for path in [*reversed(exact_states(folder)), folder / COMPACT]:
        if path.is_file() and (state := read_file(path)) is not None:
            restore(trainer, expand(state) if state.get("compact") else state)
            return path
    raise TrainingError(f"{folder} holds no state that can be read: leave out --resume to start anew")


def exact_states(folder: Path) -> list[Path]:
    """Return the exact states of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if re.fullmatch(r"step-\d+\.pt", path.name))


def write_exact(state: dict[str, Any], folder: Path, keep: int) -> None:
    """Write the exact state of a step, and remove all but the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(state, folder / f"step-{state['step']:09d}.pt")
    for old in exact_states(folder)[:-keep]:
        old.unlink()


def read_newest(folder: Path) -> dict[str, Any] | None:
    """Return the newest exact state that can be read, None where there is none."""
    return next((state for path in reversed(exact_states(folder)) if (state := read_file(path)) is not None), None)


def write_file(state: dict[str, Any], path: Path) -> None:
    """Write a state; an interrupted write leaves no file behind.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    with atomic_path(path) as partial, partial.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # PyTorch ends the archive after a write that failed, and that fails by another name
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def read_file(path: Path) -> dict[str, Any] | None:
    """Return a state, None with a warning where it cannot be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        warnings.warn(f"{path} cannot be read and is passed over: {str(error).splitlines()[0][:200]}", stacklevel=2)
        return None
