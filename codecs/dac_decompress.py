"""What `model.decompress` of descript-audio-codec makes of a `.dac` file: all channels, at the level that the audio had."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .errors import CheckpointError, ShapeError
from .loudness import loudness
from .tokens import Tokens

if TYPE_CHECKING:
    from .base import Codec


def decompress(codec: "Codec", tokens: Tokens, any_weights: bool = False) -> Tensor:
    """Return the audio [1, channels, samples] of tokens that were read from a `.dac` file, at the codec's rate.

    Codes are of audio that was brought to one loudness; its own stands in the file. Of several channels all are changed alike,
    where the program brings each to the loudness of the whole.

    Raises:
        CheckpointError: if another codec, or this one with other weights, made the tokens, or the codec is not DAC.
        ShapeError: if the tokens do not come from one `.dac` file.
    """
    if codec.family != "dac":
        raise CheckpointError(f"a .dac file holds codes of DAC, and {codec.name} is another codec: name the one that made it")
    try:
        channels, wanted = int(tokens.metadata["dac_channels"]), float(tokens.metadata["dac_input_db"].split()[0])
    except (KeyError, ValueError, IndexError):
        raise ShapeError(
            "these tokens do not tell level and channels as those of a .dac file do: codec.decode gives their audio"
        ) from None
    if channels != tokens.batch:
        raise ShapeError(f"a .dac file holds an item per channel; got {tokens.batch} of {channels} channels")
    audio = codec.decode(tokens, any_weights)[:, 0].cpu()
    gain = 10 ** ((wanted - loudness(audio.numpy(), codec.spec.sample_rate)) / 20)
    return torch.from_numpy(audio.numpy() * np.float32(gain))[None]
