"""Adversarial training: discriminators beside the codec, judged once per batch for both sides' steps.

The published loops run the discriminators twice, once for their own step and once, after it, for the codec's. Here one pass
over real and fake serves both, which the codec's gradient sees as discriminators that are one step older.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .discriminators import build_discriminator
from .losses.adversarial import Judgements, discriminator_loss, feature_matching, generator_loss
from .recipe import AdversarialSettings

OWN = ("kind", "weight")  # of an entry that says how its losses count


class Critics(nn.Module):
    """The discriminators of a recipe.

    Judgements are lists by group: entries of one kind and weight are reduced together, and groups are added up.

    Args:
        settings: of the recipe, with one discriminator at least.
        sample_rate, channels: of the audio.
    """

    def __init__(self, settings: AdversarialSettings, sample_rate: int, channels: int) -> None:
        super().__init__()
        self.settings = settings
        entries = [
            {"name": name, **{key: value for key, value in entry.items() if key not in OWN}}
            for name, entry in settings.discriminators.items()
        ]
        self.discriminators: Any = build_discriminator(entries, sample_rate=sample_rate, channels=channels)
        self.groups: dict[tuple[str, float], list[int]] = {}
        for number, entry in enumerate(settings.discriminators.values()):
            group = str(entry.get("kind", settings.kind)), float(entry.get("weight", 1.0))
            self.groups.setdefault(group, []).append(number)

    def weights(self) -> Iterator[nn.Parameter]:
        """What the discriminators' optimizer moves."""
        return self.discriminators.parameters()

    def judge(self, real: Tensor, fake: Tensor) -> tuple[list[Judgements], list[Judgements]]:
        """Judge audio [batch, channels, samples]; the graph leads to `fake` and to the discriminators' weights."""
        with parametrize.cached():
            return self._judge(real), self._judge(fake)

    def _judge(self, waveform: Tensor) -> list[Judgements]:
        members = self.discriminators.members
        return [[found for number in own for found in members[number](waveform)] for own in self.groups.values()]

    @property
    def shares(self) -> dict[str, float]:
        """Weight of each term that the codec minimises."""
        shares = {"adversarial": self.settings.weight, "features": self.settings.feature_weight}
        return {name: weight for name, weight in shares.items() if weight}

    def fooling(self, real: list[Judgements], fake: list[Judgements]) -> dict[str, Tensor]:
        """What the codec minimises, not weighed yet."""
        settings, terms = self.settings, {}
        if settings.weight:
            terms["adversarial"] = self._added(lambda kind, _, ours: generator_loss(ours, kind, settings.reduce), real, fake)
        if settings.feature_weight:
            terms["features"] = self._added(lambda _, *pair: feature_matching(pair[0], pair[1], settings.features), real, fake)
        return terms

    def learn(self, real: list[Judgements], fake: list[Judgements], share: float = 1.0) -> float:
        """Add the gradients of the discriminators' loss, times `share`, to their weights, and return the loss."""
        reduce = self.settings.reduce
        loss = self._added(lambda kind, *pair: discriminator_loss(pair[0], pair[1], kind, reduce), real, fake)
        (share * loss).backward(inputs=list(self.weights()))
        return loss.item()

    def _added(self, loss: Callable[..., Tensor], real: list[Judgements], fake: list[Judgements]) -> Tensor:
        """A loss of kind, real and fake of each group, by its weight."""
        groups = zip(self.groups, real, fake, strict=True)
        return torch.stack([weight * loss(kind, theirs, ours) for (kind, weight), theirs, ours in groups]).sum()

    def draw(self) -> bool:
        """Draw whether the discriminators learn at this step."""
        return self.settings.share >= 1 or bool(torch.rand(()) < self.settings.share)
