"""What a run notes of the packages it was made with, and what its workers may use."""

import subprocess
import sys

import numpy

import mosei_ssl
from mosei_ssl.study import engines
from mosei_ssl.utils.versions import decisive_packages, package_versions


def test_versions_of_packages_that_are_there_and_that_are_not():
    found = package_versions(["numpy", "mosei_ssl", "no-such-package"])
    assert found == {
        "numpy": numpy.__version__,
        "mosei_ssl": mosei_ssl.__version__,
        "no-such-package": "-",
    }
    assert decisive_packages("jax")[-2:] == ("jax", "jaxlib")


def test_an_environment_limits_the_threads_of_a_worker(monkeypatch):
    monkeypatch.setattr(engines, "keras_backend", lambda: "tensorflow")
    script = (
        "from threadpoolctl import threadpool_info as i; import numpy; print(i()[0]['num_threads'])"
    )
    environment = engines._environments(1)[False]
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "1", done.stderr
