"""A codec as it is trained: encoder, quantizer in training mode, decoder, whatever the family.

A family's own `encode` and `decode` work without gradients, in blocks and on codes; what stands here is the same network in one
piece on latents. A new family that is to be trained adds a row to `PASSAGES`.
"""

import dataclasses
import importlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import parametrizations

from ..codecs.base import Codec
from ..codecs.checkpoint import fold_weight_norm, load_exactly
from ..codecs.config import config_from_dict
from ..codecs.errors import TonemeError
from ..codecs.registry import FAMILIES, from_official, load, official_names
from ..codecs.teachers import load_teacher, teacher_weights
from ..quantizers.base import Quantized
from ..quantizers.gradients import straight_through
from ..quantizers.multiscale import MultiScaleQuantized
from ..quantizers.split import SplitResidualVQ
from .errors import RecipeError
from .recipe import CodecSettings
from .tables import merge


class Passage(NamedTuple):
    """How audio [batch, channels, samples] becomes latents [batch, dim, frames] and latents become audio, by family."""

    encode: Callable[[Any, Tensor], Tensor]
    decode: Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Passed:
    """What one pass gives.

    Attributes:
        waveform: [batch, channels, samples], as long as what went in.
        latents: [batch, dim, frames] before the quantizer.
        quantized: what the quantizer gave, None where it was left out.
        taught: name of a teacher -> [batch, frames, features], what the codes say in its space.
    """

    waveform: Tensor
    latents: Tensor
    quantized: Quantized | MultiScaleQuantized | None
    taught: dict[str, Tensor]


class Trainee(nn.Module):
    """A codec and the projections to its teachers' features.

    Args:
        codec: that is trained.
        teachers: name -> (features per frame, what is taught: "first" codebook or "all").

    Raises:
        RecipeError: if the codec's family cannot be trained, or its segments carry levels (EnCodec at 48 kHz).
    """

    def __init__(self, codec: Codec, teachers: dict[str, tuple[int, str]] | None = None) -> None:
        super().__init__()
        if codec.family not in PASSAGES or codec.spec.side:
            raise RecipeError(f"{codec.name} cannot be trained: the families that can be are {', '.join(sorted(PASSAGES))}")
        self.codec = codec
        self.passage = PASSAGES[codec.family]
        self.subjects = {name: subject for name, (_, subject) in (teachers or {}).items()}
        for part in SPECTRA:
            if part in dict(codec.named_modules()):
                codec.get_submodule(part).register_forward_hook(_widened)
        own = self._has_own_projection
        widths = {name: features for name, (features, subject) in (teachers or {}).items() if not own(subject)}
        self.projections = nn.ModuleDict({name: nn.LazyLinear(features) for name, features in widths.items()})
        if widths:
            self._shape_projections()

    @property
    def quantizer(self) -> nn.Module:
        """The codec's quantizer."""
        return self.codec.get_submodule("quantizer")

    def encode(self, waveform: Tensor) -> Tensor:
        """Return the latents [batch, dim, frames] of [batch, channels, samples]."""
        return self.passage.encode(self.codec, waveform)

    def forward(
        self, waveform: Tensor, depths: Tensor | None = None, quantize: bool = True, plain: Tensor | None = None
    ) -> Passed:
        """Pass audio through the codec.

        Args:
            waveform: [batch, channels, samples].
            depths: int64 [batch], codebooks that each item uses; all by default.
            quantize: or else the latents go to the decoder as they are.
            plain: bool [batch], items whose latents go to the decoder as they are though codes are learned from them.
        """
        latents, samples = self.encode(waveform), waveform.shape[-1]
        quantized, taught, through = None, {}, latents
        if quantize:
            with torch.autocast(latents.device.type, enabled=False):  # distances of half precision choose other codes
                quantized = self.quantizer(latents.float()) if depths is None else self.quantizer(latents.float(), depths)
            through = quantized.latents if plain is None else torch.where(plain[:, None, None], latents, quantized.latents)
            taught = {name: self._teach(name, latents.float(), quantized) for name in self.subjects}
        sound = self.passage.decode(self.codec, through).float()
        sound = pad(sound, (0, max(0, samples - sound.shape[-1])))[..., :samples]
        return Passed(sound, latents, quantized, taught)

    def _teach(self, name: str, latents: Tensor, quantized: Quantized | MultiScaleQuantized) -> Tensor:
        if self.subjects[name] == "all":
            said = quantized.latents.transpose(1, 2)
            if self._has_own_projection("all"):
                codec: Any = self.codec
                return codec.semantic_decoder(codec.leave_semantic(said).transpose(1, 2)).transpose(1, 2)
            return self.projections[name](said)
        codes = quantized.codes[0] if isinstance(quantized.codes, tuple) else quantized.codes
        said = first_codebook(self.quantizer, latents, codes).transpose(1, 2)
        own = getattr(self.codec, "transform", None)
        return self.projections[name](said[..., self._taught :]) if own is None else own(said)

    @property
    def _taught(self) -> int:
        """Where those numbers of a latent begin that are there for a teacher: all of them where none are."""
        quantizer: Any = self.quantizer
        return quantizer.dim - quantizer.private if getattr(quantizer, "private", 0) else 0

    def _has_own_projection(self, subject: str) -> bool:
        return hasattr(self.codec, "transform" if subject == "first" else "semantic_decoder")

    def _shape_projections(self) -> None:
        """Let the lazy projections see latents once, so that they have their shapes before an optimizer takes them."""
        with torch.no_grad():
            waveform = torch.zeros(1, self.codec.spec.channels, 2 * self.codec.spec.sample_rate // 10)
            latents = self.encode(waveform).transpose(1, 2)
            for name, projection in self.projections.items():
                projection(latents[..., self._taught if self.subjects[name] == "first" else 0 :])


SPECTRA = ("decoder.leave", "head.out")  # layers whose output becomes complex, which brain floats cannot


def _widened(module: nn.Module, given: Any, out: Tensor) -> Tensor:
    return out.float() if out.dtype == torch.bfloat16 else out


def first_codebook(quantizer: Any, latents: Tensor, codes: Tensor) -> Tensor:
    """Return what the first (semantic) codes alone decode to, [batch, dim, frames], with a gradient to the latents."""
    if isinstance(quantizer, SplitResidualVQ):
        branch = quantizer.semantic
        inside = branch.enter(latents)
        return branch.leave(straight_through(inside, branch.quantizer.decode(codes[:, : quantizer.first])))
    if hasattr(quantizer, "scales"):
        return straight_through(latents, quantizer.decode((codes,)))
    return straight_through(latents, quantizer.decode(codes[:, :1]))


# -- families -----------------------------------------------------------------------------------------------------


def _filled(codec: Any, waveform: Tensor, multiple: int | None = None) -> Tensor:
    return pad(waveform, (0, -waveform.shape[-1] % (multiple or codec.spec.hop)))


def _mimi_encode(codec: Any, waveform: Tensor) -> Tensor:
    return codec.latents_step(_filled(codec, waveform), codec.encoder_state(waveform.shape[0]))[0]


def _mimi_decode(codec: Any, latents: Tensor) -> Tensor:
    state = codec.decoder_state(latents.shape[0])
    x = codec.up.step(latents, state.resample)[0]
    x = codec.decoder_transformer.step(x.transpose(1, 2), state.transformer)[0]
    return codec.decoder.step(x.transpose(1, 2), state.seanet)[0]


def _xcodec_encode(codec: Any, waveform: Tensor) -> Tensor:
    frames = codec.n_frames(waveform.shape[-1])[0] * codec.spec.hop
    return codec.latents(pad(waveform, (0, frames - waveform.shape[-1])))


def _snac_decode(codec: Any, latents: Tensor) -> Tensor:
    if not codec.training or not codec.config.blocks.noise:
        return codec.decoder(latents)
    shapes = codec.noise_shapes(latents.shape[0], latents.shape[-1])
    return codec.decoder(latents, [torch.randn(shape, device=latents.device) for shape in shapes])


PLAIN = Passage(lambda codec, x: codec.encoder(x), lambda codec, z: codec.decoder(z))
FILLED = Passage(lambda codec, x: codec.encoder(_filled(codec, x)), lambda codec, z: codec.decoder(z))
PASSAGES = {
    "encodec": PLAIN,
    "speechtokenizer": PLAIN,
    "dac": FILLED,
    "bigcodec": FILLED,
    "snac": Passage(lambda codec, x: codec.encoder(_filled(codec, x, codec.padded_to)), _snac_decode),
    "toneme": Passage(
        lambda codec, x: codec.encoder(x[:, 0]).transpose(1, 2), lambda codec, z: codec.decoder(z.transpose(1, 2))[:, None]
    ),
    "wavtokenizer": Passage(PLAIN.encode, lambda codec, z: codec.head(codec.backbone(z))),
    "mimi": Passage(_mimi_encode, _mimi_decode),
    "xcodec": Passage(_xcodec_encode, lambda codec, z: codec.decoder(codec.leave(z.transpose(1, 2)).transpose(1, 2))),
}


# -- building and saving ------------------------------------------------------------------------------------------


def build_codec(settings: CodecSettings, name: str) -> Codec:
    """Return a codec with random weights, as a recipe's table `codec` says.

    Raises:
        RecipeError: if family, preset or a setting of the configuration is unknown.
    """
    if settings.family not in FAMILIES:
        raise RecipeError(f"codec.family must be one of {', '.join(sorted(FAMILIES))}; got {settings.family!r}")
    module_name, kind_name = FAMILIES[settings.family]
    module = importlib.import_module(f"..codecs{module_name}", __package__)
    kind, presets = getattr(module, kind_name), getattr(module, "CONFIGS", {})
    if settings.preset and settings.preset not in presets:
        raise RecipeError(f"codec.preset must be one of {', '.join(presets) or 'none'}; got {settings.preset!r}")
    base = presets[settings.preset] if settings.preset else kind.Config()
    table = merge({**dataclasses.asdict(base), "licence": ""}, settings.config)
    try:
        codec = kind(config_from_dict(kind.Config, table), settings.name or name)
    except (TonemeError, RuntimeError, ValueError, ArithmeticError, IndexError) as error:  # sizes below one end in any of these
        raise RecipeError(f"codec.config cannot be used: {error}") from error
    if empty := next((key for key, value in codec.state_dict().items() if not value.numel()), None):
        raise RecipeError(f"codec.config leaves {empty} without a number: each of its sizes must be one or more")
    return codec


def fill_teacher(codec: Any, name: str) -> None:
    """Give the frozen model inside a codec pretrained weights; nothing is done where no name is given.

    Raises:
        RecipeError: if the codec holds no such model.
        CheckpointError: if the weights cannot be had, or are of another kind or size.
    """
    if not name:
        return
    if not hasattr(codec, "teacher"):
        raise RecipeError(f"a codec of family {codec.family} holds no model for codec.teacher={name}: leave it out")
    loaded = load_teacher(name, codec.config.teacher.layer)
    load_exactly(codec.teacher.model, teacher_weights(loaded.model.state_dict(), ""), name)


def initial_codec(init: str, name: str) -> Codec:
    """Return the codec that a recipe's `init` names, to train on under a new name.

    Raises:
        RecipeError: if an official codec is named without its checkpoint.
        TonemeError: if there is no such codec.
    """
    official, _, checkpoint = init.partition(":")
    ours = init.startswith("hf://") or (Path(init) / "config.json").is_file()  # a folder may be called as a codec is
    if ours or not (checkpoint or _is_official(official)):
        codec = load(init)
    elif checkpoint:
        codec = from_official(official, checkpoint)
    else:
        codec = from_official(official, _published(official))
    codec.name = name or codec.name
    return codec


def mark_semantic(codec: Any, subjects: Collection[str]) -> None:
    """Let a codec tell that its first codebook is taught, where that is one of the `subjects` and it can tell."""
    if "first" in subjects and getattr(codec.config, "semantic", None) == 0:
        codec.config = dataclasses.replace(codec.config, semantic=1)


def _is_official(name: str) -> bool:
    return name.replace("-", "_").lower() in {known.replace("-", "_").lower() for known in official_names()}


PUBLISHED = {  # official name -> repository and file on the hub
    "mimi": ("kyutai/mimi", "model.safetensors"),
    "encodec_24khz": ("facebook/encodec_24khz", "model.safetensors"),
    "encodec_48khz": ("facebook/encodec_48khz", "model.safetensors"),
    "dac_44khz": ("descript/dac_44khz", "model.safetensors"),
    "dac_24khz": ("descript/dac_24khz", "model.safetensors"),
    "dac_16khz": ("descript/dac_16khz", "model.safetensors"),
    "snac_24khz": ("hubertsiuzdak/snac_24khz", "pytorch_model.bin"),
    "snac_32khz": ("hubertsiuzdak/snac_32khz", "pytorch_model.bin"),
    "snac_44khz": ("hubertsiuzdak/snac_44khz", "pytorch_model.bin"),
}


def _published(name: str) -> str:
    key = name.replace("-", "_").lower()
    if key not in PUBLISHED:
        raise RecipeError(f"init={name} needs the official file as well: download it and write init={name}:CHECKPOINT")
    from huggingface_hub import hf_hub_download

    try:
        return hf_hub_download(*PUBLISHED[key])
    except Exception as error:  # the hub's client lets its HTTP library's errors through
        raise RecipeError(
            f"the official file of {name} cannot be fetched ({type(error).__name__}): "
            f"download it and write init={name}:CHECKPOINT"
        ) from error


def let_learn(codec: Codec, parts: Sequence[str]) -> None:
    """Let only these parts of a codec learn; all of it where none is named.

    Raises:
        RecipeError: if it has no such part, or none of them learns by gradients.
    """
    if not parts:
        return
    known = dict(codec.named_children())
    if unknown := [name for name in parts if name not in known]:
        raise RecipeError(f"learns: {codec.name} has no part {unknown[0]!r}: use some of {', '.join(known)}")
    learned = [p for name in parts for p in known[name].parameters() if p.requires_grad]  # a frozen model inside stays so
    if not learned:
        raise RecipeError(f"learns: {', '.join(parts)} of {codec.name} has no weights: name another part as well")
    codec.requires_grad_(False).eval()  # codebooks move only in training mode
    for parameter in learned:
        parameter.requires_grad_(True)
    for name in parts:
        known[name].train()


def norm_weights(module: nn.Module) -> None:
    """Give every convolution of a module that learns a weight of gain times direction."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.ConvTranspose1d) and part.weight.requires_grad:
            parametrizations.weight_norm(part)


def save_codec(trainee: Trainee, weights: dict[str, Tensor]) -> Codec:
    """Return a codec for use with the weights of a trainee's state, weight norm multiplied out."""
    own = {name.removeprefix("codec."): value for name, value in weights.items() if name.startswith("codec.")}
    codec = type(trainee.codec).unloaded(trainee.codec.config, trainee.codec.name)
    load_exactly(codec, fold_weight_norm(own), "the trained weights")
    return codec.eval()
