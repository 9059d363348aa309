"""Learning rates: the warm-up's ends, the schedules' ends and middles."""

import pytest

from toneme.recipes.errors import RecipeError
from toneme.recipes.recipe import OptimizerSettings
from toneme.recipes.schedule import learning_rate


@pytest.mark.parametrize(
    ("schedule", "middle", "last"),
    [("constant", 1, 1), ("cosine", 0.51, 0.02), ("linear", 0.51, 0.02), ("exponential", 0.02**0.5, 0.02)],
)
def test_the_rate_warms_up_and_falls_to_its_floor(schedule, middle, last):
    settings = OptimizerSettings(learning_rate=2.0, schedule=schedule, warmup=10, floor=0.02)
    assert learning_rate(settings, 0, 110) == pytest.approx(0.2)
    assert learning_rate(settings, 10, 110) == pytest.approx(2.0)
    assert learning_rate(settings, 60, 110) == pytest.approx(2 * middle)
    assert learning_rate(settings, 110, 110) == learning_rate(settings, 500, 110) == pytest.approx(2 * last)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(RecipeError, match="must be one of constant, cosine, linear, exponential; got 'steps'"):
        learning_rate(OptimizerSettings(schedule="steps"), 5, 10)
