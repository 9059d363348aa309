"""Parts of SemantiCodec that no recipe trains: AudioMAE, the spectrograms' VAE and the vocoder, from the published files."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..codecs.checkpoint import load_exactly, read_checkpoint, tensors_of
from ..codecs.layers.audioldm_names import audiomae_names, vae_encoder_names, vae_names, vocoder_names
from ..codecs.layers.vae_encoder import VAEEncoder
from ..codecs.semanticodec import SemantiCodec
from .errors import RecipeError

PUBLISHED = "published"
REPOSITORY, FOLDER = "haoheliu/SemantiCodec", "semanticodec_tokenrate_100"  # every rate has the same parts
FILES = ("encoder.ckpt", "decoder.ckpt")


def load_parts(codec: SemantiCodec, vae_encoder: VAEEncoder, where: str) -> None:
    """Give a codec and the encoder of its VAE their pretrained weights; nothing is done where no place is named.

    Args:
        codec: gets AudioMAE, the VAE's decoder and the vocoder.
        vae_encoder: gets its own.
        where: a folder of the published `encoder.ckpt` and `decoder.ckpt`, "published" to fetch them, or "".

    Raises:
        RecipeError: if a file is missing.
        CheckpointError: if one cannot be read or does not fit.
    """
    if not where:
        return
    encoder, decoder = (tensors_of(read_checkpoint(path), str(path)) for path in _files(where))
    _fill(codec.audiomae, audiomae_names(codec.audiomae), encoder, "audiomae.model.")
    _fill(codec.vae, vae_names(codec.vae), decoder, "first_stage_model.")
    _fill(vae_encoder, vae_encoder_names(vae_encoder), decoder, "first_stage_model.")
    _fill(codec.vocoder, vocoder_names(codec.vocoder), decoder, "first_stage_model.vocoder.")


def _fill(module: nn.Module, names: dict[str, str], weights: Mapping[str, Tensor], prefix: str) -> None:
    own = {ours: weights[prefix + theirs] for ours, theirs in names.items() if prefix + theirs in weights}
    load_exactly(module, own, f"the published {prefix.rstrip('.')}")


def _files(where: str) -> list[Path]:
    if where == PUBLISHED:
        return [_fetched(name) for name in FILES]
    found = [path for folder in (Path(where), Path(where) / FOLDER) if all((path := folder / name).is_file() for name in FILES)]
    if not found:
        raise RecipeError(
            f"{where} must hold {' and '.join(FILES)} as published, or diffusion.parts be {PUBLISHED!r} to fetch them"
        )
    return [found[0].parent / name for name in FILES]


def _fetched(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(REPOSITORY, f"{FOLDER}/{name}"))
    except Exception as error:  # the hub's client lets its HTTP library's errors through
        raise RecipeError(
            f"{name} of {REPOSITORY} cannot be fetched ({type(error).__name__}): download it, and name its folder in "
            "diffusion.parts"
        ) from error
