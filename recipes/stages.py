"""What SemantiCodec learns, stage by stage, given audio.

The tokenizer's semantic codes are k-means centres of AudioMAE's features. Its acoustic codes learn in the published training
with the diffusion model alone; here they may learn before it to say what the centres leave of the features, and then go on
with it.

Source: Liu et al., "SemantiCodec: An Ultra Low Bitrate Semantic Audio Codec for General Sound", 2024, and the training code of
AudioLDM, which its authors point to.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..codecs.layers.unet import embed_places
from ..codecs.layers.vae_encoder import VAEEncoder
from ..codecs.semanticodec import PADDING, SemantiCodec
from ..eval.spectra import slaney_mels
from ..quantizers.base import Quantized, to_rows
from .losses.diffusion import DiffusionLoss, diffuse
from .losses.spectrum import reflect, spectrum

WINDOW = 1024  # samples of the spectra that the VAE and the vocoder know
FLOOR = 1e-5


@dataclass(frozen=True)
class Described:
    """Windows of audio as the tokenizer sees them.

    Attributes:
        features, centres: [batch, width, frames]; AudioMAE's, and their nearest semantic codes'.
        beyond: bool [batch, frames], what is after the end of the audio.
        semantic: codes int64 [batch, 1, frames].
        acoustic: of the quantizer, its latents with a gradient to what made them.
        left: [batch, width, frames], what went into the quantizer.
    """

    features: Tensor
    centres: Tensor
    beyond: Tensor
    semantic: Tensor
    acoustic: Quantized
    left: Tensor

    @property
    def codes(self) -> Tensor:
        """Both codebooks' codes [batch, 2, frames]."""
        return torch.cat([self.semantic, self.acoustic.codes], dim=1)


class Stage(nn.Module):
    """Losses of one stage; only `learns` of the codec gets gradients.

    Args:
        codec: whose parts learn.
        learns: names of those.
    """

    def __init__(self, codec: SemantiCodec, learns: tuple[str, ...]) -> None:
        super().__init__()
        self.codec = codec.requires_grad_(False)
        for name in learns:
            codec.get_submodule(name).requires_grad_(True)
        self.moves = "lstm" in learns  # whether the acoustic codebook does

    def train(self, mode: bool = True) -> "Stage":
        """Set the mode; the acoustic codebook moves in no stage that does not teach it."""
        super().train(mode)
        self.codec.acoustic.train(mode and self.moves)
        return self

    def hear(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Return AudioMAE's features of windows [batch, 1, samples], and which frames are beyond their end."""
        with torch.no_grad():
            mel, beyond = self.codec.spectrogram(waveform[:, 0], last=True)
            return self.codec.features(mel).float(), beyond

    def leave(self, features: Tensor, beyond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return semantic codes, their centres, and what goes into the acoustic quantizer."""
        codec = self.codec
        semantic = codec.semantic.encode(features)
        centres = codec.semantic.decode(semantic)
        both = torch.cat([features, centres], dim=1).masked_fill(beyond[:, None], PADDING)
        return semantic, centres, codec.project(codec.lstm(both.transpose(1, 2))[0]).transpose(1, 2)

    def describe(self, waveform: Tensor) -> Described:
        """Return what the tokenizer says of windows [batch, 1, samples]."""
        features, beyond = self.hear(waveform)
        semantic, centres, left = self.leave(features, beyond)
        with torch.autocast(left.device.type, enabled=False):
            return Described(features, centres, beyond, semantic, self.codec.acoustic(left.float()), left)

    def acoustic_rows(self, waveform: Tensor) -> Tensor:
        """Return what the acoustic codebook could start from, [rows, width]."""
        with torch.no_grad():
            left = self.leave(*self.hear(waveform))[2]
        return to_rows(left.float(), left.shape[1])


class TokenizerStage(Stage):
    """The acoustic codes say what the semantic ones leave of the features.

    Args:
        codec: whose LSTM, projection and acoustic codebook learn.
        commitment: weight of that loss.
    """

    def __init__(self, codec: SemantiCodec, commitment: float) -> None:
        super().__init__(codec, ("lstm", "project"))
        self.commitment = commitment

    def forward(self, waveform: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return weighed losses of windows [batch, 1, samples], and their codes."""
        said = self.describe(waveform)
        apart = (said.centres + said.acoustic.latents - said.features).square().mean(1)
        heard = ~said.beyond
        rebuilt = (apart * heard).sum() / heard.sum().clamp(min=1)
        return {"features": rebuilt, "commitment": self.commitment * said.acoustic.commitment}, said.codes


class DecoderStage(Stage):
    """The diffusion model learns to tell latents from noise, given the codes.

    Args:
        codec: whose U-Net learns.
        vae_encoder: gives the latents.
        tokenizer: whether LSTM, projection and acoustic codebook learn as well.
        loss: "v" or "noise".
        drop: share of items whose codes are left out, so that the codec can be guided.
        commitment: weight of that loss.
    """

    def __init__(
        self, codec: SemantiCodec, vae_encoder: VAEEncoder, tokenizer: bool, loss: str, drop: float, commitment: float
    ) -> None:
        super().__init__(codec, ("unet", "lstm", "project") if tokenizer else ("unet",))
        self.vae_encoder = vae_encoder.requires_grad_(False)
        self.loss, self.drop, self.commitment = DiffusionLoss(loss), drop, commitment
        self.register_buffer("signal", codec.config.schedule.signal().float(), persistent=False)
        config = codec.config
        self.register_buffer("places", embed_places(config.frames, config.positions)[None], persistent=False)
        bins = config.vocoder.bins
        self.register_buffer("filters", slaney_mels(bins, WINDOW, config.sample_rate), persistent=False)
        self.register_buffer("taper", torch.hann_window(WINDOW), persistent=False)

    signal: Tensor
    places: Tensor
    filters: Tensor
    taper: Tensor

    def mel(self, waveform: Tensor) -> Tensor:
        """Return the log-mel [batch, frames, bins] of windows [batch, 1, samples], as the VAE and the vocoder know it."""
        hop = self.codec.config.vocoder.hop
        edge = (WINDOW - hop) // 2
        size = spectrum(reflect(waveform[:, 0], edge, edge), hop, self.taper, center=False).abs()
        with torch.autocast(waveform.device.type, enabled=False):
            return (size.transpose(1, 2) @ self.filters).clamp(min=FLOOR).log()

    @torch.no_grad()
    def latents(self, waveform: Tensor) -> Tensor:
        """Draw latents [batch, channels, steps, bands] of windows, before they are scaled."""
        return self.vae_encoder(self.mel(waveform)).sample().float()

    def latents_scale(self, waveform: Tensor) -> Tensor:
        """Return what brings latents to a variance of 1. Source: Rombach et al., 2022, appendix G."""
        return 1 / self.latents(waveform).std()

    def forward(self, waveform: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return weighed losses of windows [batch, 1, samples], and their codes."""
        said, latents = self.describe(waveform), self.latents(waveform) * self.codec.scale
        time = torch.randint(len(self.signal), (len(latents),), device=latents.device)
        noisy, v = diffuse(latents, torch.randn_like(latents), self.signal[time])
        predicted = self.codec.unet(noisy, time, self.codec.unet.read(self._read(said)))
        losses = {"diffusion": self.loss(predicted, v, self.signal[time])}
        if self.moves:
            losses["commitment"] = self.commitment * said.acoustic.commitment
        return losses, said.codes

    def _read(self, said: Described) -> Tensor:
        """What the U-Net reads [batch, frames, channels]: codes, some items' left out, and places."""
        both = torch.cat([said.acoustic.latents, said.centres], dim=1).masked_fill(said.beyond[:, None], PADDING)
        kept = torch.rand(len(both), 1, 1, device=both.device) >= self.drop
        return torch.cat([(both * kept).transpose(1, 2), self.places.expand(len(both), -1, -1)], dim=-1)
