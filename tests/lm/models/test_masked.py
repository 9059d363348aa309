"""The masked model: every mask is filled, prompts stay, what was learned comes out."""

import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.lm.models.sampling import Sampling

from .made import SIZES, TWO, make_model, teach


@pytest.mark.parametrize("steps", [(1,), (5, 2), (40, 3)])
@pytest.mark.parametrize("frames", [1, 7, 12])
def test_every_mask_is_filled(steps, frames):
    model = make_model("masked").eval()
    codes = model.fill(frames, "one", steps=steps, generator=torch.Generator().manual_seed(0))
    assert codes.shape == (1, 3, frames)
    assert bool((codes < torch.tensor(SIZES)[:, None]).all())


def test_a_prompt_stays():
    model = make_model("masked").eval()
    codes = model.fill(12, None, TWO[..., :5], Sampling(temperature=2.0), (6, 3))
    assert torch.equal(codes[..., :5], TWO[..., :5])
    assert torch.equal(model.fill(9, None, TWO), TWO)
    with pytest.raises(ShapeError, match="at most 4 frames"):
        model.fill(4, None, TWO)


def test_what_was_learned_comes_out():
    high, low = (torch.tensor(column)[:, None].expand(3, 6) for column in ([7, 5, 4], [1, 2, 0]))
    codes = torch.stack([torch.cat([high, low], dim=1), torch.cat([low, high], dim=1)])
    model, told = make_model("masked"), ["one", "two"]
    data = codes.repeat(4, 1, 1), torch.full((8,), 12), torch.ones(8, dtype=torch.bool), told * 4
    losses = teach(model, 150, data=data)
    assert sum(losses[-20:]) < 0.2 * sum(losses[:20])
    for guidance in (1.0, 1.2):
        sure = Sampling(temperature=0, guidance=guidance)
        written = torch.cat([model.fill(12, label, sampling=sure, steps=(8, 4)) for label in told])
        assert (written == codes).float().mean() > 0.9


def test_frames_beyond_an_items_end_are_not_seen():
    model = make_model("masked").eval()
    codes = torch.cat([TWO, TWO], dim=-1)
    cut = model(codes, 1, [None], torch.tensor([9]))[:, :9]
    torch.testing.assert_close(cut, model(TWO, 1, [None]))
