from digsite.read.run import METHODS


def test_methods_are_callable_by_name():
    assert set(METHODS) == {"nwa", "published", "group_zoo", "families", "planted", "transfer"} and all(
        map(callable, METHODS.values())
    )
