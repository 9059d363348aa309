"""`LanguageModel`: what models of tokens have in common; a folder holds `config.json` and `model.safetensors`."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...codecs.checkpoint import load_weights, save_weights
from ...codecs.errors import CheckpointError
from ...codecs.files import atomic_path
from .config import LanguageConfig
from .prefix import Prefix

if TYPE_CHECKING:
    from ...codecs.base import Codec
    from ...codecs.tokens import Tokens
    from ..shard_item import About

FAMILY, VERSION = "language", 1


class LanguageModel(nn.Module):
    """A model that writes codes, told a label, a text or nothing.

    Args:
        config: what it is.
    """

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.prefix = Prefix(config)

    @abstractmethod
    def loss(self, codes: Tensor, lengths: Tensor, ended: Tensor, told: Sequence[str | None]) -> Tensor:
        """Return the mean cross entropy, in nats per code, of what the model is to predict.

        Args:
            codes: int64 [batch, codebooks, frames].
            lengths: int64 [batch], frames in use.
            ended: bool [batch], whether the recording ends where its frames do, rather than being cut there.
            told: a label, a text or None for each item.
        """

    def predicted(self, lengths: Tensor, ended: Tensor) -> int:
        """Return how many codes of a batch its loss is the mean of, on average; arguments as of `loss`."""
        return int(lengths.sum())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.prefix.table.weight.device

    def check(self, made: "Codec | Tokens | About", source: str) -> None:
        """Raise CheckpointError unless a codec is the one of the model's tokens, or tokens were made by it."""
        own = self.config
        name = getattr(made, "codec", None) or getattr(made, "name", "")
        if name != own.codec or (made.weights_hash and made.weights_hash != own.weights_hash):
            raise CheckpointError(
                f"the model writes tokens of {own.codec} with weights {own.weights_hash}, and {source} is of {name} with "
                f"weights {made.weights_hash}: use the codec that the model was trained on"
            )

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.state_dict(), folder / "model.safetensors")
        told = {"family": FAMILY, "version": VERSION, "config": asdict(self.config)}
        with atomic_path(folder / "config.json") as partial:
            partial.write_text(json.dumps(told, indent=2) + "\n")


def build(config: LanguageConfig) -> Any:
    """Return a model with first weights."""
    from .columns import ColumnModel
    from .masked import MaskedModel

    return (MaskedModel if config.kind == "masked" else ColumnModel)(config)


def load(folder: str | Path, device: str = "cpu") -> Any:
    """Read what `save` wrote.

    Raises:
        CheckpointError: if it is no language model, or damaged.
    """
    path = Path(folder) / "config.json"
    try:
        found = json.loads(path.read_bytes())
        if found["family"] != FAMILY or found["version"] != VERSION:
            raise CheckpointError(f"{path} is of {found['family']} {found['version']}, and {FAMILY} {VERSION} was expected")
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in found["config"].items()
        }
        model = build(LanguageConfig(**plain))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder} is no language model ({error}): name the folder `model` of a run") from None
    load_weights(model, Path(folder) / "model.safetensors")
    return model.to(device).eval()
