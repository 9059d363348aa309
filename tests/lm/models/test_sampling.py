"""Drawing ids: the limits, and guidance by its formula."""

import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.lm.models.sampling import Sampling

LOGITS = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


def drawn(**settings) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    return set(Sampling(**settings).choose(LOGITS.repeat(500, 1), generator).tolist())


def test_limits():
    assert drawn() == {0, 1, 2, 3}
    assert drawn(temperature=0) == {1}
    assert drawn(top_k=1) == {1}
    assert drawn(top_k=2) == {1, 3}
    assert drawn(top_k=9) == {0, 1, 2, 3}
    assert drawn(top_p=0.69) == {1, 3}
    assert drawn(top_p=0.71) == {1, 2, 3}
    assert drawn(top_p=1e-6) == {1}
    assert drawn(temperature=0.01) == {1}


def test_shares_are_those_of_the_logits():
    ids = Sampling().choose(LOGITS.repeat(20000, 1), torch.Generator().manual_seed(1))
    torch.testing.assert_close(ids.bincount() / 20000, LOGITS.exp(), atol=0.015, rtol=0)


def test_guidance_goes_beyond_what_was_told():
    told, untold = torch.randn(2, 3, 5).unbind(0)
    guided = Sampling(guidance=3.0).guide(torch.cat([told, untold]))
    torch.testing.assert_close(guided, 3 * told - 2 * untold)
    assert Sampling().guide(told) is told


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"guidance": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ShapeError, match="at least 0, and top_p above 0"):
        Sampling(**wrong)
