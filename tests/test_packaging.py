"""What goes into the wheel beside the modules, and what the package gives when imported."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("package", ["mosei_ssl", "tfds_mosei"])
def test_both_packages_tell_type_checkers_of_their_types(package):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert (ROOT / package / "py.typed").is_file()
    assert "py.typed" in setup["options.package_data"][package].split()


def test_packages_are_there_after_the_plain_import_which_stays_light():
    code = """
import sys, mosei_ssl
names = {"covarep", "metrics", "serving", "training", "pretrain", "export", "PretrainConfig"}
assert names <= set(dir(mosei_ssl)), dir(mosei_ssl)
assert callable(mosei_ssl.covarep.extract)
heavy = {"tensorflow", "keras"} & set(sys.modules)
assert not heavy, heavy
try:
    mosei_ssl.nothing
except AttributeError as error:
    assert "'nothing'" in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
