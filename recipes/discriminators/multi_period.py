"""Multi-period discriminator: every p-th sample as a column of an image.

Source: Kong et al., "HiFi-GAN", 2020, section 2.3. DAC and BigCodec use it with the switches below.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ..losses.spectrum import reflect
from .base import Judgement, Stack, conv2d, level


class MultiPeriod(nn.Module):
    """Judges waveform [batch, channels, samples] at several periods.

    Args:
        periods: samples per row of the image, one part for each.
        widths: channels of the convolutions; the last one keeps the time resolution.
        channels: of the waveform.
        last_kernel: rows that the score's convolution sees: 3, or 2 in BigCodec.
        always_pad: pad by a whole period where samples divide evenly, as DAC does.
        leveled: remove the mean and set the peak to 0.8 first, as DAC does.
        first_map: the first layer's output is a feature map (not in Vocos).
        score_map: the score is a feature map (HiFi-GAN, Vocos).
    """

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        widths: Sequence[int] = (32, 128, 512, 1024, 1024),
        channels: int = 1,
        last_kernel: int = 3,
        always_pad: bool = False,
        leveled: bool = False,
        first_map: bool = True,
        score_map: bool = True,
    ) -> None:
        super().__init__()
        self.periods, self.always_pad, self.leveled = tuple(periods), always_pad, leveled
        self.parts = nn.ModuleList()
        for _ in self.periods:
            layers, width = [], channels
            for index, wider in enumerate(widths):
                stride = 3 if index < len(widths) - 1 else 1
                layers.append(conv2d(width, wider, (5, 1), (stride, 1), padding=(2, 0)))
                width = wider
            last = conv2d(width, 1, (last_kernel, 1), padding=(1, 0))
            self.parts.append(Stack(layers, last, 0.1, first_map, score_map))

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Return score [batch, 1, rows, period] and maps [batch, width, rows, period] of each period."""
        if self.leveled:
            waveform = level(waveform)
        return [part(self._fold(waveform, period)) for part, period in zip(self.parts, self.periods, strict=True)]

    def _fold(self, waveform: Tensor, period: int) -> Tensor:
        missing = -waveform.shape[-1] % period
        if self.always_pad and not missing:
            missing = period
        rows = reflect(waveform, 0, missing) if missing else waveform
        whole = rows.shape[-1] - rows.shape[-1] % period
        return rows[..., :whole].unflatten(-1, (-1, period))
