from digsite.base import families


def test_members_are_the_public_files_of_the_folder():
    assert {"run", "ls", "show"} <= set(families.names("digsite.cli"))
    assert not any(name.startswith("_") for name in families.names("digsite.cli"))


def test_purpose_is_the_first_line_of_the_docstring():
    assert families.purpose(families) == families.__doc__.splitlines()[0]
    assert families.scan("digsite.cli")["ls"].command.name == "ls"
