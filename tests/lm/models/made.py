"""A small model of two labels, and what it is taught: one recording of each."""

import torch

from toneme.lm.models.base import build
from toneme.lm.models.config import LanguageConfig

SMALL = {"width": 32, "layers": 2, "heads": 2, "depth_width": 16, "depth_layers": 1}
SIZES = (8, 8, 6)
ONE = torch.tensor([[0, 1, 2, 3] * 3, [4, 5, 6, 7] * 3, [0, 1] * 6])[None]
TWO = torch.tensor([[3, 2, 1, 0, 7, 6, 3, 2, 1], [4, 4, 5, 5, 4, 4, 5, 5, 4], [5] * 9])[None]


def make_model(kind: str, **settings):
    """Return an untrained model."""
    torch.manual_seed(0)
    told = {} if settings.get("text") else {"labels": ("one", "two")}
    return build(LanguageConfig(kind, "tiny", "hash", 50.0, SIZES, **{**told, **SMALL, **settings}))


def batch(copies: int = 4):
    """Return codes, lengths, whether they end, and labels of both recordings, again and again."""
    codes = torch.zeros(2, 3, 12, dtype=torch.int64)
    codes[0], codes[1, :, :9] = ONE[0], TWO[0]
    lengths, ended = torch.tensor([12, 9] * copies), torch.ones(2 * copies, dtype=torch.bool)
    return codes.repeat(copies, 1, 1), lengths, ended, ["one", "two"] * copies


def teach(model, steps: int, rate: float = 5e-3, data=None) -> list[float]:
    """Teach a model both recordings, or other data, and return the loss of each step."""
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=rate), []
    model.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model is only slowed down by more
    for _ in range(steps):
        loss = model.loss(*(data or batch()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    torch.set_num_threads(threads)
    model.eval()
    return losses
