"""Teachers: frozen speech models whose features some codecs take in and others are trained to predict.

HuBERT, WavLM and w2v-BERT 2.0, by the `transformers` package, which is imported when the first of them is built. Weights come
from the Hugging Face hub (kept in its cache), a folder, or the codec's own checkpoint.

Sources: Hsu et al., "HuBERT", 2021; Chen et al., "WavLM", 2022; Seamless Communication, "Seamless: Multilingual Expressive and
Streaming Speech Translation", 2023 (w2v-BERT 2.0).
"""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import pad

from .audio_resampling import resample
from .checkpoint import Undrawn
from .errors import CheckpointError, MissingDependencyError, ShapeError, how_to_install
from .layers.fbank import kaldi_fbank

SAMPLE_RATE = 16000  # Hz, of all of them
HOP = 320  # samples per frame, of all of them
BLOCK_FRAMES = 64  # of the first convolutions' output, worked on at once
MEAN = None  # the layer that stands for the mean of all hidden states
KINDS = {  # model_type of transformers -> its classes
    "hubert": ("HubertConfig", "HubertModel"),
    "wavlm": ("WavLMConfig", "WavLMModel"),
    "wav2vec2-bert": ("Wav2Vec2BertConfig", "Wav2Vec2BertModel"),
}
MASK = {"masked_spec_embed"}  # with which only training hides audio: not every checkpoint has it
NAMES = {
    "hubert": "facebook/hubert-base-ls960",
    "hubert-general": "ZhenYe234/hubert_base_general_audio",
    "wavlm": "microsoft/wavlm-base-plus",
    "w2v-bert": "facebook/w2v-bert-2.0",
}


@dataclass(frozen=True)
class TeacherConfig:
    """A teacher without its weights.

    Attributes:
        kind: "hubert", "wavlm" or "wav2vec2-bert".
        layer: the hidden state that is the feature, 0 for what enters the first layer, -1 for the last; None for their mean.
        settings: of the transformers configuration, where they are not its defaults.
    """

    kind: str = "hubert"
    layer: int | None = MEAN
    settings: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CheckpointError(f"a teacher is one of {', '.join(KINDS)}; got {self.kind!r}")


class Teacher(nn.Module):
    """A frozen speech model: audio [batch, samples] to features [batch, frames, dimension].

    The audio gets half a frame of zeros on either side, so that n samples give about n / 320 frames: `n_frames`.

    Args:
        model: of transformers.
        layer: see `TeacherConfig`.
    """

    model: Any

    def __init__(self, model: nn.Module, layer: int | None = MEAN) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.layer = layer
        _fold_positions(model)
        if (extract := getattr(model, "feature_extractor", None)) is not None:
            self.model.feature_extractor = BlockedFeatures(extract.conv_layers)
        if layer is not None and layer >= 0:  # what comes after that layer is never heard of
            self.model.encoder.layers = self.model.encoder.layers[: layer + 1]

    @classmethod
    def from_config(cls, config: TeacherConfig) -> Self:
        """Build a teacher with random weights.

        Raises:
            MissingDependencyError: if transformers is not installed, or what it imports does not load.
            CheckpointError: if a setting is unknown.
        """
        unmasked = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}  # of training; its embedding would be among the weights
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in config.settings}
        settings = transformers_settings(config.kind, {**unmasked, **values})
        return cls(part_of(load_transformers(), KINDS[config.kind][1])(settings), config.layer)

    @property
    def dimension(self) -> int:
        """Channels of a feature."""
        return self.model.config.hidden_size

    @property
    def frame_rate(self) -> float:
        """Features per second, Hz."""
        return SAMPLE_RATE / HOP

    @property
    def hears_spectra(self) -> bool:
        """Whether the model takes mel spectra, not samples."""
        return self.model.config.model_type == "wav2vec2-bert"

    def n_frames(self, n_samples: int) -> int:
        """Return the frames of audio of `n_samples` at 16 kHz."""
        return max(0, (n_samples + HOP - self.least) // HOP)

    @property
    def least(self) -> int:
        """Samples of a frame that must be there for it to count."""
        return HOP - 80 if self.hears_spectra else 80

    def train(self, mode: bool = True) -> Self:
        """Stay as it is: a teacher does not learn."""
        return super().train(False)

    def __reduce__(self) -> tuple:
        """Build a copy anew: transformers hooks its layers at their first call, by functions that cannot be pickled."""
        return _built_anew, (type(self), type(self.model), self.model.config, self.layer, self.state_dict())

    @torch.no_grad()
    def forward(self, waveform: Tensor, sample_rate: int = SAMPLE_RATE) -> Tensor:
        """Return the features [batch, frames, dimension] of a waveform [batch, samples].

        Raises:
            ShapeError: if the waveform is not of that shape, or too short for one frame.
        """
        if waveform.ndim != 2:
            raise ShapeError(f"a teacher takes audio [batch, samples]; got {list(waveform.shape)}")
        waveform = resample(waveform, sample_rate, SAMPLE_RATE)
        if not self.n_frames(waveform.shape[-1]):
            raise ShapeError(f"a teacher needs {self.least} samples at 16 kHz or more; got {waveform.shape[-1]}: pad the audio")
        heard = pad(waveform, (HOP // 2, HOP // 2))
        heard = (mel_spectra(heard) if self.hears_spectra else heard).to(next(self.model.parameters()))
        found = self.model(heard, output_hidden_states=True).hidden_states
        return torch.stack(found).mean(0) if self.layer is None else found[self.layer]


def _built_anew(kind: type[Teacher], model: type[nn.Module], settings: Any, layer: int | None, weights: Any) -> Teacher:
    with Undrawn():
        teacher = kind(model(settings), layer)
    teacher.load_state_dict(weights, assign=True)
    return teacher.eval().to(next(teacher.parameters()).device)  # with tables that are no weights


class BlockedFeatures(nn.Module):
    """The convolutions that HuBERT and WavLM begin with, one block of frames after another.

    Their activations take 7 MB a second each, and several are alive at once. Only the norm of the first layer sees more than
    a block, where it is one over time.
    """

    def __init__(self, conv_layers: nn.ModuleList) -> None:
        super().__init__()
        self.conv_layers = conv_layers

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the features [batch, channels, frames] of a waveform [batch, samples]."""
        hop, reach = _hop_and_reach(self.conv_layers)
        first, *rest = self.conv_layers
        begin = _NormedOverTime(first, waveform) if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm) else first
        pieces = []
        for start in range(0, waveform.shape[-1] - reach + 1, BLOCK_FRAMES * hop):
            x = begin(waveform[:, None, start : start + (BLOCK_FRAMES - 1) * hop + reach])
            for layer in rest:
                x = layer(x)
            pieces.append(x)
        return torch.cat(pieces, dim=-1)


class _NormedOverTime:
    """The first layer with the moments of a whole waveform, which follow from those of the samples that an output sees."""

    def __init__(self, layer: Any, waveform: Tensor) -> None:
        self.layer, norm = layer, layer.layer_norm
        hop, reach = _hop_and_reach([layer])
        seen = waveform.double().unfold(-1, reach, hop)  # [batch, outputs, reach]
        centre = seen.mean(1, keepdim=True)
        covariance = (seen - centre).transpose(1, 2) @ (seen - centre) / seen.shape[1]
        weight = layer.conv.weight[:, 0].double()  # [channels, reach]
        mean = centre @ weight.T + (0 if layer.conv.bias is None else layer.conv.bias.double())
        variance = (weight @ covariance * weight).sum(-1)  # [batch, channels]
        scale = norm.weight.double() / (variance + norm.eps).sqrt()
        self.scale, self.shift = (x[..., None].to(waveform) for x in (scale, norm.bias.double() - mean[:, 0] * scale))

    def __call__(self, x: Tensor) -> Tensor:
        return self.layer.activation(torch.addcmul(self.shift, self.layer.conv(x), self.scale))


def _hop_and_reach(layers: Iterable[Any]) -> tuple[int, int]:
    """Return how far apart the outputs of convolutions begin, and how many samples one sees."""
    hop, reach = 1, 1
    for layer in reversed(list(layers)):
        kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
        hop, reach = hop * stride, (reach - 1) * stride + kernel
    return hop, reach


def mel_spectra(waveform: Tensor) -> Tensor:
    """Return the spectra [batch, frames, 160] of audio [batch, samples] that w2v-BERT takes, two of 10 ms side by side.

    Each of the 80 bands has mean 0 and variance 1 over the audio.
    """
    bands = kaldi_fbank(waveform.float() * 2.0**15)  # float16 holds no sample of 2 at that scale
    variance = bands.var(dim=1, keepdim=True) if bands.shape[1] > 1 else torch.zeros_like(bands)
    bands = (bands - bands.mean(dim=1, keepdim=True)) / (variance + 1e-7).sqrt()
    return bands[:, : bands.shape[1] // 2 * 2].unflatten(1, (-1, 2)).flatten(2).to(waveform)


def load_teacher(name_or_path: str | Path, layer: int | None = MEAN, device: str = "cpu") -> Teacher:
    """Return a pretrained teacher, downloaded once into the hub's cache where it is not a folder.

    Args:
        name_or_path: "hubert", "hubert-general", "wavlm", "w2v-bert", any other name on the hub, or a folder that
            `save_pretrained` of transformers wrote.
        layer: see `TeacherConfig`.
        device: where to put it.

    Raises:
        MissingDependencyError: if transformers is not installed.
        CheckpointError: if nothing of that name can be had, it lacks weights, or it is no speech model that is known here.
    """
    package, name = load_transformers(), NAMES.get(str(name_or_path), str(name_or_path))
    try:
        kind = package.AutoConfig.from_pretrained(name).model_type
        model = _pretrained(package, kind, name) if kind in KINDS else None
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"the teacher {name} cannot be had ({str(error).strip().splitlines()[0][:200]}): connect once to fetch it, "
            "or pass the folder of a copy"
        ) from None
    if model is None:
        raise CheckpointError(f"{name} is a {kind}, and a teacher is one of {', '.join(KINDS)}")
    return Teacher(model, layer).to(device)


def _pretrained(package: Any, kind: str, name: str) -> Any:
    """Load a model and keep quiet about what it has no use for, as the head of one that spells."""
    before = package.logging.get_verbosity()
    package.logging.set_verbosity_error()
    try:
        model, found = part_of(package, KINDS[kind][1]).from_pretrained(name, output_loading_info=True)
    finally:
        package.logging.set_verbosity(before)
    if lacking := sorted(set(found["missing_keys"]) - MASK):
        raise CheckpointError(
            f"the teacher {name} lacks {len(lacking)} of its weights, {lacking[0]} the first, which would be random ones: "
            f"fetch a whole copy of a {kind}"
        )
    return model


def teacher_weights(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix with the names and shapes that `Teacher.model` has.

    The convolution of positions has its weight norm per tap, in either spelling; it is multiplied out here.
    """
    own = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    own.pop("masked_spec_embed", None)
    for gain, direction in WEIGHT_NORM:
        if gain in own and direction in own:
            g, v = own.pop(gain).float(), own.pop(direction).float()
            own[POSITIONS] = v * (g / v.norm(dim=(0, 1), keepdim=True))
    return own


POSITIONS = "encoder.pos_conv_embed.conv.weight"
WEIGHT_NORM = (
    (f"{POSITIONS}_g", f"{POSITIONS}_v"),
    tuple(f"encoder.pos_conv_embed.conv.parametrizations.weight.original{i}" for i in (0, 1)),
)


def _fold_positions(model: nn.Module) -> None:
    """Multiply out the weight norm of the convolution of positions, so that it is not done anew for every call."""
    found = [part for name, part in model.named_modules() if name == POSITIONS.removesuffix(".weight")]
    for conv in found:
        if nn.utils.parametrize.is_parametrized(conv):
            nn.utils.parametrize.remove_parametrizations(conv, "weight")
            conv.requires_grad_(False)


def load_transformers() -> Any:
    """Return the package transformers.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingDependencyError(
            f"this codec or teacher needs the package transformers ({error}): {how_to_install('train')}"
        ) from None


def transformers_settings(kind: str, settings: Mapping[str, Any]) -> Any:
    """Return the configuration that transformers has for a kind of teacher, with these settings.

    Raises:
        MissingDependencyError: if transformers is not installed, or what it imports does not load.
        CheckpointError: if a setting is unknown.
    """
    name = KINDS[kind][0]
    config = part_of(load_transformers(), name)
    known = config()
    if unknown := [setting for setting in settings if not hasattr(known, setting)]:
        raise CheckpointError(f"unknown settings {unknown} of a {kind} teacher: see {name} of transformers")
    return config(**settings)


def part_of(package: Any, name: str) -> Any:
    """Return what transformers imports when it is asked for, torchaudio among it where that is installed.

    Raises:
        MissingDependencyError: if that does not load.
    """
    try:
        return getattr(package, name)
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"transformers cannot load its {name} ({error}): repair or uninstall what does not load, "
            "such as a torchaudio built for CUDA beside a PyTorch without it"
        ) from None
