"""Names of domains, as recipes give them to losses."""

import pytest

from toneme.recipes.domains import Domains
from toneme.recipes.errors import RecipeError


def test_items_of_named_domains_are_concerned_or_all_where_none_is_named():
    assert Domains("losses.l1", ["speech", "song"]).among(["music", "song", "", "speech"]) == [1, 3]
    assert Domains("losses.l1").among(["music", ""]) == [0, 1]
    assert Domains("losses.l1", ["speech"]).among([]) == []


@pytest.mark.parametrize("told", ["speech", [], [1], {}, False, 0])
def test_anything_but_a_list_of_names_is_refused(told):
    with pytest.raises(RecipeError, match=r"losses\.l1\.domains must be names of domains, as \[speech\]; got "):
        Domains("losses.l1", told)


def test_names_that_the_data_have_not_are_refused():
    Domains("losses.l1", ["speech"]).check({"speech", ""})
    Domains("losses.l1").check(set())
    for known, have in (({"music", ""}, "music"), (set(), "none named")):
        with pytest.raises(RecipeError, match=rf"losses\.l1\.domains are speech, and those of the data are: {have}"):
            Domains("losses.l1", ["speech"]).check(known)
