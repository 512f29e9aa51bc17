"""What goes into the wheel beside the modules."""

import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("package", ["mosei_ssl", "tfds_mosei"])
def test_both_packages_tell_type_checkers_of_their_types(package):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert (ROOT / package / "py.typed").is_file()
    assert "py.typed" in setup["options.package_data"][package].split()
