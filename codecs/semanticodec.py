"""SemantiCodec: a semantic and an acoustic code 50, 25 or 12.5 times a second, sounded by a latent diffusion model.

Audio becomes a log-mel spectrogram, AudioMAE's features of its patches, and their nearest k-means centre: the semantic code.
An LSTM over features and centres says what is left: the acoustic code. A diffusion model under both gives latents, which a VAE
turns into a spectrogram and HiFi-GAN into audio. All of it works on windows of 10.24 s.

Source: Liu et al., "SemantiCodec: An Ultra Low Bitrate Semantic Audio Codec for General Sound", 2024, and its published code.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..quantizers.euclidean import EuclideanVQ
from ..quantizers.kmeans import KMeansTokenizer
from .base import Codec, Encoded
from .chunk_seconds import check_fixed
from .errors import CheckpointError, ShapeError
from .layers.audiomae import AudioMAE, AudioMAEConfig
from .layers.ddim import Sampling, Schedule, guided, sample
from .layers.fbank import kaldi_fbank
from .layers.hifigan import HiFiGAN, HiFiGANConfig
from .layers.unet import UNet, UNetConfig, embed_places
from .layers.vae import VAEConfig, VAEDecoder
from .spec import CodecSpec, StreamSpec
from .window_streams import WindowStreamDecoder, WindowStreamEncoder

MEAN, SPREAD = -4.2677393, 2 * 4.5689974  # of AudioMAE's spectrograms in training
PADDING = -1.0  # stands for features of what is beyond the end of the audio


@dataclass(frozen=True)
class SemantiCodecConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        audiomae: encoder of spectrograms, whose size is the window.
        stack: neighbouring patches in time and in frequency whose features one frame holds.
        semantic_size, acoustic_size: of the two codebooks.
        lstm_layers: of the acoustic branch.
        positions: channels that say where in its window a frame is, for the diffusion model.
        schedule, unet, vae, vocoder: diffusion model, its latents' decoder, and the spectrogram's.
        licence: of the weights.
    """

    sample_rate: int = 16000
    audiomae: AudioMAEConfig = field(default_factory=AudioMAEConfig)
    stack: tuple[int, int] = (1, 1)
    semantic_size: int = 16384
    acoustic_size: int = 8192
    lstm_layers: int = 4
    positions: int = 192
    schedule: Schedule = field(default_factory=Schedule)
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    vocoder: HiFiGANConfig = field(default_factory=HiFiGANConfig)
    licence: str = ""

    def __post_init__(self) -> None:
        if self.unet.context != 2 * self.width + self.positions or self.vocoder.hop != self.sample_rate // 100:
            raise CheckpointError(
                f"the diffusion model must read {2 * self.width + self.positions} channels and the vocoder give "
                f"{self.sample_rate // 100} samples per frame; got {self.unet.context} and {self.vocoder.hop}"
            )

    @property
    def width(self) -> int:
        """Channels of a frame's features."""
        return self.audiomae.width * math.prod(self.stack)

    @property
    def window(self) -> int:
        """Samples of a window."""
        return self.audiomae.shape[0] * self.sample_rate // 100

    @property
    def patch(self) -> int:
        """Samples that audio is filled up to a multiple of: a column of patches."""
        return self.audiomae.patch * self.sample_rate // 100

    @property
    def frames(self) -> int:
        """Frames of a window."""
        return math.prod(self.audiomae.grid) // math.prod(self.stack)

    @property
    def latents(self) -> tuple[int, int, int]:
        """Shape of a window's latents: channels, steps in time, bands."""
        return self.unet.latents, self.audiomae.shape[0] // self.vae.ratio, self.vocoder.bins // self.vae.ratio


class SemantiCodec(Codec):
    """Audio to pairs of codes, and back.

    The audio is filled up to whole columns of patches (0.16 s), one more where it fills them, and cut to as many codes as the
    published code counts. `sampling` says how `decode` samples, and may be set to another `Sampling`, or by
    `set_decode_options`.
    """

    Config = SemantiCodecConfig
    family = "semanticodec"
    large = True  # nobody wants its weights in memory to read its specification
    config: SemantiCodecConfig
    scale: Tensor

    def __init__(self, config: SemantiCodecConfig, name: str = "") -> None:
        super().__init__(config, name)
        width = config.width
        self.audiomae = AudioMAE(config.audiomae)
        self.semantic = KMeansTokenizer(width, config.semantic_size)
        self.lstm = nn.LSTM(2 * width, 2 * width, config.lstm_layers, batch_first=True, bidirectional=True)
        self.project = nn.Linear(4 * width, width, bias=False)
        self.acoustic = EuclideanVQ(width, config.acoustic_size)
        self.unet = UNet(config.unet)
        self.register_buffer("scale", torch.ones(()))  # of the latents that the diffusion model gives
        self.vae = VAEDecoder(config.vae)
        self.vocoder = HiFiGAN(config.vocoder)
        self.sampling = Sampling()

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        sizes = (config.semantic_size, config.acoustic_size)
        stream = StreamSpec(config.window // config.frames, sizes, ("semantic", "acoustic"))
        reach = config.window + self.overhang
        return CodecSpec(
            config.sample_rate, 1, (stream,), causal=False, lookahead=reach + config.window, receptive_field=reach,
            licence=config.licence,
        )  # fmt: skip

    @property
    def overhang(self) -> int:
        """Samples after a window that its last analysis frame sees."""
        return self.config.sample_rate * 15 // 1000

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames for audio of `n_samples`, those of the zeros after it included.

        They are counted in 64-bit floats in the published order, whose rounding mostly hides the column that is added to whole
        ones, and adds a frame to 7 % of other lengths.
        """
        if not n_samples:
            return (0,)
        config = self.config
        seconds, column = n_samples / config.sample_rate, config.patch / config.sample_rate
        seconds += column - seconds % column
        counted = math.ceil(config.audiomae.grid[1] * seconds / column / math.prod(config.stack))
        return (min(counted, (n_samples // config.window + 1) * config.frames),)

    @property
    def window(self) -> str:
        """How much audio a frame hears, as its tokens record it: windows begin side by side at the start of the audio."""
        return f"chunk={self.config.window} context=0"

    # -- encode -------------------------------------------------------------------------------------------------

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        encoder = WindowStreamEncoder(self, waveform.shape[0], codebooks)
        (start, _), (end, _) = encoder._push(waveform), encoder._flush()
        return (torch.cat([start[0], end[0]], dim=-1),), {}

    def code_window(self, waveform: Tensor, last: bool, codebooks: int) -> Tensor:
        """Return codes [batch, codebooks, frames] of a window [batch, samples], up to `overhang` samples longer.

        The last window's final frames are silent, since nothing follows it.
        """
        mel, beyond = self.spectrogram(waveform, last)
        features = self.features(mel)
        semantic = self.semantic.encode(features)
        if codebooks == 1:
            return semantic
        both = torch.cat([features, self.semantic.decode(semantic).to(features.dtype)], dim=1)
        left = self.project(self.lstm(both.masked_fill(beyond[:, None], PADDING).transpose(1, 2))[0])
        return torch.cat([semantic, self.acoustic.encode(left.transpose(1, 2))], dim=1)

    def spectrogram(self, waveform: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """Return the log-mel [batch, frames, bins] of a window, and which of its codes [batch, frames] are beyond the end."""
        config = self.config
        wanted, bins = config.audiomae.shape
        whole = pad(waveform, (0, config.window + (0 if last else self.overhang) - waveform.shape[1]))
        mel = kaldi_fbank(whole, config.sample_rate, bins, "hanning")
        mel = (pad(mel, (0, 0, 0, wanted - mel.shape[1])) - MEAN) / SPREAD
        place = torch.arange(1, wanted + 1, device=mel.device)
        end = torch.where(mel.std(dim=-1) > 1e-7, place, 0).amax(1)  # after the last frame that is not flat
        used = -(-end * config.frames // wanted)
        return mel.to(self.dtype), torch.arange(config.frames, device=mel.device) >= used[:, None]

    def features(self, mel: Tensor) -> Tensor:
        """Return AudioMAE's features [batch, width, frames] of a spectrogram, those of neighbouring patches stacked."""
        times, bands = self.config.stack
        patches = self.audiomae(mel).unflatten(2, (-1, bands)).unflatten(1, (-1, times))
        return patches.transpose(2, 3).flatten(3).flatten(1, 2).transpose(1, 2)

    # -- decode -------------------------------------------------------------------------------------------------

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        decoder = WindowStreamDecoder(self, streams[0].shape[0])
        return torch.cat([decoder._push(streams, {}), decoder._flush()], dim=-1)

    def sound_window(self, codes: Tensor, number: int) -> Tensor:
        """Return audio [batch, 1, samples] of the codes [batch, 2, frames] of a window, the `number`-th from 0."""
        latents = self.sample_latents(self.describe(codes), self.sampling.source(number, self.config.latents))
        n_samples = codes.shape[-1] * self.spec.hop
        frames = n_samples // self.config.vocoder.hop + self.config.vocoder.reach
        items = (latents / self.scale).to(self.dtype).split(1)  # one after another: what makes the spectrogram is wide
        audio = [self.vocoder(self.vae(item)[:, :frames].transpose(1, 2)) for item in items]
        return torch.cat(audio)[..., :n_samples]

    @property
    def decode_options(self) -> dict[str, float]:
        """Steps and guidance of the diffusion model, the seed of its noise, and `eta`, as `Sampling` explains them."""
        return {name: getattr(self.sampling, name) for name in ("steps", "guidance", "eta", "seed")}

    def _set_decode_options(self, options: dict[str, float]) -> None:
        self.config.schedule.times(steps := int(options["steps"]))
        values = {"guidance": float(options["guidance"]), "eta": float(options["eta"]), "seed": int(options["seed"])}
        self.sampling = replace(self.sampling, steps=steps, **values)

    def describe(self, codes: Tensor) -> Tensor:
        """Return what the diffusion model reads, [batch, frames of a window, channels], without positions.

        Raises:
            ShapeError: if the acoustic codes are missing.
        """
        if codes.shape[1] != 2:
            raise ShapeError(f"{self.name} sounds semantic and acoustic codes together; got {codes.shape[1]} codebook")
        both = torch.cat([self.acoustic.decode(codes[:, 1:]), self.semantic.decode(codes[:, :1])], dim=1)
        return pad(both, (0, self.config.frames - codes.shape[-1]), value=PADDING).transpose(1, 2)

    def sample_latents(self, description: Tensor, noise: Iterable[Tensor]) -> Tensor:
        """Return latents [batch, channels, steps, bands] of a description, float32."""
        batch, frames, _ = description.shape
        place = embed_places(frames, self.config.positions).to(description).expand(batch, -1, -1)

        def predictor(read: Tensor) -> Callable[[Tensor, int], Tensor]:
            seen = self.unet.read(torch.cat([read, place], dim=-1).to(self.dtype))
            return lambda x, time: self.unet(x.to(self.dtype), torch.full((batch,), time, device=x.device), seen).float()

        predict = predictor(description)
        if self.sampling.guidance != 1:
            predict = guided(predict, predictor(torch.zeros_like(description)), self.sampling.guidance)
        drawn = (part.to(self.device, torch.float32).expand(batch, -1, -1, -1) for part in noise)
        return sample(predict, drawn, self.config.schedule, self.sampling)

    # -- streams and files --------------------------------------------------------------------------------------

    def stream_encoder(
        self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None
    ) -> WindowStreamEncoder:
        """Return an encoder of audio in pieces, which gives codes window by window."""
        check_fixed(self.name, chunk_seconds, self.config.window / self.config.sample_rate)
        return WindowStreamEncoder(self, batch, codebooks)

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> WindowStreamDecoder:
        """Return a decoder of frames in pieces, which gives audio window by window."""
        check_fixed(self.name, chunk_seconds, self.config.window / self.config.sample_rate)
        return WindowStreamDecoder(self, batch)

    @classmethod
    def unloaded(cls, config: SemantiCodecConfig, name: str) -> Self:
        """Return a codec whose weights take no memory until they are loaded."""
        with torch.device("meta"):
            codec = cls(config, name)
        codec.semantic = KMeansTokenizer(config.width, config.semantic_size)
        codec.acoustic = EuclideanVQ(config.width, config.acoustic_size)
        return codec
