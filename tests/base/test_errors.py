import pytest

from digsite.base.errors import LockHeld, MissingExtra, NotFound, UsageError, name_nearest, require_package


def test_nearest_names_the_close_ones():
    assert name_nearest("tms_52", ["tms_5-2", "resid_mlp1"]) == "Did you mean 'tms_5-2'?"


def test_nearest_lists_few_and_counts_many():
    assert name_nearest("zzz", ["a", "b"]) == "Accepted: a, b."
    assert name_nearest("zzz", [f"name{i}" for i in range(20)]).endswith("and 8 more.")
    assert name_nearest("zzz", []) == ""


def test_exit_codes_are_part_of_the_interface():
    assert [e("x").exit_code for e in (UsageError, NotFound, LockHeld)] == [2, 3, 5]


def test_message_and_hint_read_as_sentences():
    assert str(UsageError("It broke.", hint="Mend it.")) == "It broke. Mend it."


def test_a_missing_extra_names_the_install_command():
    with pytest.raises(MissingExtra, match=r"'no_such_package'.*pip install 'digsite\[ray\]'"):
        require_package("no_such_package", extra="ray")


def test_a_present_module_is_returned():
    assert require_package("json", extra="x").dumps(1) == "1"
