import pytest

from digsite.base.errors import MissingExtra
from digsite.base.lazy import require


def test_a_missing_extra_names_the_install_command():
    with pytest.raises(MissingExtra, match=r"'no_such_package'.*pip install 'digsite\[ray\]'"):
        require("no_such_package", extra="ray")


def test_a_present_module_is_returned():
    assert require("json", extra="x").dumps(1) == "1"
