"""A differentiable relative of PESQ: what the ear would hear of the difference, for training without a metric network.

Sources: Martín-Doñas et al., "A Deep Learning Loss Function Based on the Perceptual Evaluation of the Speech Quality" (PMSQE),
IEEE Signal Processing Letters, 2018, whose steps and weights these are, after ITU-T P.862, 2001; threshold of hearing:
Terhardt, "Calculating virtual pitch", 1979; Bark scale: Traunmüller, "Analytical expressions for the tonotopic sensory
scale", 1990. PESQ's alignment in time is left out, as a codec's output is aligned already; band edges and thresholds are
those formulas instead of the standard's tables.
"""

import torch
from torch import Tensor, nn

from .spectrum import spectrum

LOWEST, HIGHEST = 100.0, 8000.0  # Hz; what wide-band PESQ hears
LISTENING_DB = 79.0  # sound pressure level of speech at the ear, P.862
SPEECH_BAND = (325.0, 3250.0)  # Hz; by which P.862 sets levels


class PerceptualLoss(nn.Module):
    """Audible disturbance of estimate and target [batch, channels, samples], 0 for what sounds the same.

    Both are brought to the same level first, so gains cost nothing; each channel is heard by itself.

    Args:
        sample_rate: Hz.
        bands: of equal width in Bark, as many as PESQ has in wide band.
        symmetric_weight: of what was lost or added.
        asymmetric_weight: of what was added where nothing was, which annoys more.
    """

    taper: Tensor
    filters: Tensor
    threshold: Tensor

    def __init__(
        self, sample_rate: int, bands: int = 49, symmetric_weight: float = 0.1, asymmetric_weight: float = 0.0309
    ) -> None:
        super().__init__()
        self.symmetric_weight, self.asymmetric_weight = symmetric_weight, asymmetric_weight
        window = 2 * round(0.016 * sample_rate)
        self.hop = window // 2
        hertz = torch.linspace(0, sample_rate / 2, self.hop + 1)
        low, high = (float(bark(torch.tensor(f))) for f in (LOWEST, min(HIGHEST, sample_rate / 2)))
        edges = torch.linspace(low, high, bands + 1)
        self.width = (high - low) / bands
        self.speech = slice(*(int(torch.searchsorted(hertz, f)) for f in SPEECH_BAND))
        self.register_buffer("taper", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", _shares(bark(hertz), edges), persistent=False)
        self.register_buffer("threshold", 10 ** (threshold_of_hearing(_hertz((edges[1:] + edges[:-1]) / 2)) / 10), persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        ours, theirs = (self._pitch_powers(x.flatten(0, 1)) for x in (estimate, target))
        theirs = theirs * _equaliser(ours, theirs, self.threshold)
        level = theirs.sum(-1)
        ours = ours*_gain(ours,theirs)
        lost, added = self._disturbances(ours, theirs)
        audible = ((level + 1e5) / 1e7) ** -0.04  # what is wrong in pauses counts more
        symmetric = (audible * (self.width**0.5) * torch.linalg.vector_norm(lost, dim=-1)).clamp(max=45)
        asymmetric = (audible * self.width * added.sum(-1)).clamp(max=45)
        return (self.symmetric_weight * symmetric + self.asymmetric_weight * asymmetric).mean()
