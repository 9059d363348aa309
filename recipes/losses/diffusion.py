"""What a diffusion model of latents minimises: the distance of its v, or of the noise that its v stands for.

Sources: Salimans and Ho, "Progressive Distillation", 2022, section 4 and appendix D (v, and losses as weights of its distance);
Ho et al., "Denoising Diffusion Probabilistic Models", 2020, equation 14 (noise).
"""

from torch import Tensor, nn

from ..errors import RecipeError

KINDS = ("v", "noise")


def diffuse(latents: Tensor, noise: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    """Return noisy latents, and v: what `ddim_step` of the codecs takes them apart by.

    Args:
        latents: [batch, ...].
        noise: of that shape, variance 1.
        signal: [batch], share of the variance that is still latents.
    """
    share = signal.to(latents).view(-1, *[1] * (latents.ndim - 1))
    return share.sqrt() * latents + (1 - share).sqrt() * noise, share.sqrt() * noise - (1 - share).sqrt() * latents


class DiffusionLoss(nn.Module):
    """Mean squared distance of a predicted v, or of the noise that it implies.

    Args:
        kind: "v", as SemantiCodec is published, or "noise", as AudioLDM.

    Raises:
        RecipeError: if `kind` is neither.
    """

    def __init__(self, kind: str = "v") -> None:
        super().__init__()
        if kind not in KINDS:
            raise RecipeError(f"the loss of a diffusion model is one of {', '.join(KINDS)}; got {kind!r}")
        self.kind = kind

    def forward(self, predicted: Tensor, v: Tensor, signal: Tensor) -> Tensor:
        """Return the loss of v [batch, ...] at shares of signal [batch], a scalar."""
        apart = (predicted.float() - v.float()).square().flatten(1).mean(1)
        return (apart * signal.to(apart)).mean() if self.kind == "noise" else apart.mean()
