from digsite.base.errors import LockHeld, NotFound, UsageError, nearest


def test_nearest_names_the_close_ones():
    assert nearest("tms_52", ["tms_5-2", "resid_mlp1"]) == "Did you mean 'tms_5-2'?"


def test_nearest_lists_few_and_counts_many():
    assert nearest("zzz", ["a", "b"]) == "Accepted: a, b."
    assert nearest("zzz", [f"name{i}" for i in range(20)]).endswith("and 8 more.")
    assert nearest("zzz", []) == ""


def test_exit_codes_are_part_of_the_interface():
    assert [e("x").exit_code for e in (UsageError, NotFound, LockHeld)] == [2, 3, 5]


def test_message_and_hint_read_as_sentences():
    assert str(UsageError("It broke.", hint="Mend it.")) == "It broke. Mend it."
