"""SemantiCodec's published files to a codec: the encoder, the decoder and the k-means centres."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import load_official
from .errors import CheckpointError
from .layers.audioldm_names import audiomae_names, unet_names, vae_names, vocoder_names
from .layers.audiomae import AudioMAEConfig
from .layers.unet import UNetConfig
from .published import Published
from .semanticodec import SemantiCodec, SemantiCodecConfig

VOCABULARIES = (4096, 8192, 16384, 32768)
STACKS = {100: ((1, 1), 4), 50: ((1, 2), 3), 25: ((2, 2), 2)}  # codes a second -> stack, layers of the LSTM
UNUSED = (  # AudioMAE's own decoder, statistics and averages of training, and what only makes latents
    r"^encoder\.(audiomae\.model\.(mask_token|decoder_)|quantizer\._codebook\.(initted|cluster_size|embed_avg)$)"
    r"|^decoder\.(model_ema\.|first_stage_model\.(encoder|quant_conv|loss)\b|(?!scale_factor)\w+$)"
)
FIXED = {
    "semantic.centres": "centroids.", "semantic.counts": "counts", "scale": "decoder.scale_factor",
    "acoustic.codebooks": "encoder.quantizer._codebook.embed", "project.weight": "encoder.encoder_output_linear.weight",
}  # fmt: skip


def convert_semanticodec(weights: Mapping[str, Tensor], rate: int, vocabulary: int | None = None) -> SemantiCodec:
    """Return the codec with official weights, those of the published files behind `encoder.`, `decoder.` and `centroids.`.

    Args:
        weights: official name -> tensor; the centres are named `centroids.`, and say how many semantic codes there are.
        rate: codes a second.
        vocabulary: semantic codes as advertised, which is that number or twice it; any by default.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    centres = weights.get("centroids.")
    if centres is None or centres.ndim != 2:
        got = "a mapping of names" if centres is None else f"an array of shape {list(centres.shape)}"
        raise CheckpointError(f"the k-means centres are an array of two dimensions, one centre per row; got {got}")
    if vocabulary not in (None, len(centres), 2 * len(centres)):
        raise CheckpointError(f"{len(centres)} k-means centres are not those of a vocabulary of {vocabulary}: pass its file")
    (stack, layers), width = STACKS[rate], AudioMAEConfig.width
    unet = UNetConfig(context=2 * width * math.prod(stack) + SemantiCodecConfig.positions)
    config = SemantiCodecConfig(stack=stack, semantic_size=len(centres), lstm_layers=layers, unet=unet, licence="MIT")
    codec = SemantiCodec.unloaded(config, f"semanticodec_{rate}")
    names = FIXED | {f"lstm.{name}": f"encoder.encoder.{name}" for name, _ in codec.lstm.named_parameters()}
    for part, table, where in (
        ("audiomae", audiomae_names(codec.audiomae), "encoder.audiomae.model"),
        ("unet", unet_names(codec.unet), "decoder.model.diffusion_model"),
        ("vae", vae_names(codec.vae), "decoder.first_stage_model"),
        ("vocoder", vocoder_names(codec.vocoder), "decoder.first_stage_model.vocoder"),
    ):
        names |= {f"{part}.{ours}": f"{where}.{theirs}" for ours, theirs in table.items()}
    counts = torch.ones(len(centres), dtype=torch.float64)  # how many features made each centre is not published
    load_official(codec, {**weights, "counts": counts}, (names,), f"the checkpoint of {codec.name}", UNUSED)
    return codec.eval()


def _published(rate: int, vocabulary: int | None) -> Published:
    """Where the three files are in the published repository, or in a folder of just them."""
    where = f"semanticodec_tokenrate_{rate}/"
    centres = f"codebook_idx/combine_{512 * rate // 100}_audioset_dominate/codebook_{vocabulary and vocabulary // 2}_0.npy"
    files = {"encoder": (where + "encoder.ckpt", "encoder.ckpt"), "decoder": (where + "decoder.ckpt", "decoder.ckpt")}
    build = functools.partial(convert_semanticodec, rate=rate, vocabulary=vocabulary)
    return Published(build, files | {"centroids": (centres, Path(centres).name, "*.npy") if vocabulary else ("*.npy",)})


OFFICIAL = {f"semanticodec_{rate}": _published(rate, None) for rate in STACKS} | {
    f"semanticodec_{rate}_{vocabulary}": _published(rate, vocabulary) for rate in STACKS for vocabulary in VOCABULARIES
}
