"""Adversarial training: discriminators beside the codec, judged once per batch for both sides' steps.

The published loops run the discriminators twice, once for their own step and once, after it, for the codec's. Here one pass
over real and fake serves both, which the codec's gradient sees as discriminators that are one step older.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .discriminators import build_discriminator
from .losses.adversarial import Judgements, discriminator_loss, feature_matching, generator_loss
from .recipe import AdversarialSettings


class Critics(nn.Module):
    """The discriminators of a recipe.

    Args:
        settings: of the recipe, with one discriminator at least.
        sample_rate, channels: of the audio.
    """

    def __init__(self, settings: AdversarialSettings, sample_rate: int, channels: int) -> None:
        super().__init__()
        self.settings = settings
        entries = [{"name": name, **entry} for name, entry in settings.discriminators.items()]
        self.discriminators = build_discriminator(entries, sample_rate=sample_rate, channels=channels)

    def weights(self) -> Iterator[nn.Parameter]:
        """What the discriminators' optimizer moves."""
        return self.discriminators.parameters()

    def judge(self, real: Tensor, fake: Tensor) -> tuple[Judgements, Judgements]:
        """Judge audio [batch, channels, samples]; the graph leads to `fake` and to the discriminators' weights."""
        with parametrize.cached():
            return self.discriminators(real), self.discriminators(fake)

    @property
    def shares(self) -> dict[str, float]:
        """Weight of each term that the codec minimises."""
        shares = {"adversarial": self.settings.weight, "features": self.settings.feature_weight}
        return {name: weight for name, weight in shares.items() if weight}

    def fooling(self, real: Judgements, fake: Judgements) -> dict[str, Tensor]:
        """What the codec minimises, not weighed yet."""
        settings, terms = self.settings, {}
        if settings.weight:
            terms["adversarial"] = generator_loss(fake, settings.kind, settings.reduce)
        if settings.feature_weight:
            terms["features"] = feature_matching(real, fake, settings.features)
        return terms

    def learn(self, real: Judgements, fake: Judgements, share: float = 1.0) -> float:
        """Add the gradients of the discriminators' loss, times `share`, to their weights, and return the loss."""
        loss = discriminator_loss(real, fake, self.settings.kind, self.settings.reduce)
        (share * loss).backward(inputs=list(self.weights()))
        return loss.item()

    def draw(self) -> bool:
        """Draw whether the discriminators learn at this step."""
        return self.settings.share >= 1 or bool(torch.rand(()) < self.settings.share)
