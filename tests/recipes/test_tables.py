"""Tables of recipes: files, bases and settings."""

import pytest

from toneme.recipes.errors import RecipeError
from toneme.recipes.recipe import read_recipe
from toneme.recipes.tables import read_table, setting_table


def test_a_recipe_that_is_not_there_is_guessed_at():
    with pytest.raises(RecipeError, match=r"no recipe is called tny \(did you mean tiny\?\)"):
        read_recipe("tny")


def test_a_recipe_that_is_its_own_base_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b\n")
    (tmp_path / "b.yaml").write_text("base: a\n")
    with pytest.raises(RecipeError, match="is its own base: remove the circle"):
        read_table(tmp_path / "a.yaml")


def test_a_file_that_is_not_a_recipe_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("steps: [1\n")
    with pytest.raises(RecipeError, match=r"a\.yaml is not YAML"):
        read_recipe(tmp_path / "a.yaml")


def test_settings_reach_into_tables():
    assert setting_table("a.b=[1, 2]") == {"a": {"b": [1, 2]}}
    assert setting_table("data.train=/some folder") == {"data": {"train": "/some folder"}}


def test_what_follows_a_hash_in_a_folders_name_is_no_comment():
    assert setting_table("data.train=/music/Album #1") == {"data": {"train": "/music/Album #1"}}
    assert setting_table("data.train='/music/Album #1'") == {"data": {"train": "/music/Album #1"}}
    assert setting_table("codec.name=''") == {"codec": {"name": ""}}
