"""Recipes: bases and settings, and one sentence about what is not understood."""

import pytest

from toneme.recipes.errors import RecipeError
from toneme.recipes.recipe import read_recipe, to_yaml
from toneme.recipes.tables import recipe_names


def test_a_recipe_says_only_how_it_differs_from_its_base(tmp_path):
    (tmp_path / "a.yaml").write_text("steps: 5\nlosses: {l1: {weight: 2}, l2: {weight: 1}}\n")
    (tmp_path / "b.yaml").write_text("base: a\nlosses: {l1: null, l2: {weight: 3}}\n")
    recipe = read_recipe(tmp_path / "b.yaml", ["batch=3", "optimizer.learning_rate=1e-4", "optimizer.betas=[0.5, 0.9]"])
    assert (recipe.steps, recipe.batch) == (5, 3)
    assert recipe.losses == {"l2": {"weight": 3}}
    assert recipe.optimizer.learning_rate == 1e-4
    assert recipe.optimizer.betas == (0.5, 0.9)


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_survives_being_written(name, tmp_path):
    recipe = read_recipe(name)
    (tmp_path / "again.yaml").write_text(to_yaml(recipe))
    assert read_recipe(tmp_path / "again.yaml") == recipe


def test_recipes_weigh_and_level_as_the_published_code_does():
    assert read_recipe("bigcodec_16khz").data.loudness is None
    parts = read_recipe("wavtokenizer_24khz").adversarial.discriminators
    assert [parts[name]["weight"] * count for name, count in (("vocos_periods", 5), ("multi_resolution", 3))] == pytest.approx(
        [1, 1], abs=1e-5
    )
    assert [parts[name]["kind"] for name in ("dac_periods", "multi_band")] == ["least_squares"] * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["stepz=3"], "stepz is no key of a recipe: did you mean steps?"),
        (["data.tran=x"], "data.tran is no key of a recipe: did you mean train?"),
        (["steps=many"], "steps must be a whole number; got 'many'"),
        (["steps"], "'steps' is no setting: write key=value"),
        (["batch=0"], "batch must be above 0; got 0"),
        (["precision=fp8"], "precision must be fp32 or bf16; got 'fp8'"),
        (["losses.l1=3"], "losses.l1 must be a table; got 3"),
        (["compile=perhaps"], "compile must be true or false; got 'perhaps'"),
        (["data.loudness=-20"], "data.loudness must be two numbers, as .0.8, 0.99.; got -20"),
        (["optimizer.betas=[0.9]"], "optimizer.betas must be two numbers, as .0.8, 0.99.; got .0.9."),
        (["data.weights={speech: much}"], "data.weights.speech must be a number; got 'much'"),
        (["balancer=false"], "balancer must be a table; got False"),
        (["learns=decoder", "init=default"], "learns must be a list of names; got 'decoder'"),
        (["learns=[decoder]"], "learns needs init: parts that do not learn would stay random"),
        (
            ["learns=[decoder]", "init=default", "language.kind=delay"],
            "learns is for codecs that learn from waveforms: leave it out",
        ),
        (["adversarial.clip=tight"], "adversarial.clip must be a number; got 'tight'"),
    ],
)
def test_what_is_not_understood_is_named(settings, message):
    with pytest.raises(RecipeError, match="^" + message.replace("?", r"\?")):
        read_recipe("tiny", settings)


def test_a_number_of_a_file_needs_no_dot_and_what_is_quoted_is_text(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "adversarial: {learning_rate: 1e-4, clip: 2}\nlosses: {l1: {weight: 1E+1}}\ncodec: {name: '1e3'}\n"
        "data: {loudness: [-3e1, -20]}\n"
    )
    recipe = read_recipe(tmp_path / "a.yaml")
    assert (recipe.adversarial.learning_rate, recipe.adversarial.clip, recipe.data.loudness) == (1e-4, 2.0, (-30.0, -20.0))
    assert recipe.losses == {"l1": {"weight": 10.0}}
    assert recipe.codec.name == "1e3"
