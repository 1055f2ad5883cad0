from digsite.read.subjects.family_recipes import PLANS, build_recipe


def test_a_recipe_is_built_as_planned():
    recipe = build_recipe("mlp-digits-relu-adam", 3, 0.5)
    assert len(recipe.members) == 3 and recipe.members[0].steps == 300
    assert recipe.images[0].shape[-1] == 8 and not (recipe.images[1] == recipe.other[1]).all()


def test_recipes_of_the_rules_are_marked():
    assert [n for n, p in PLANS.items() if p.grown_on] == ["mlp-digits-relu-adam"]
