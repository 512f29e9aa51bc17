"""A signal that comes while Python destroys an object is not lost."""

import os
import signal
import time

import pytest

from mosei_ssl.utils.signals import Interrupted, stop_politely


class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def work():
    Destroyed()
    for _ in range(1000):
        time.sleep(0.01)


def test_a_signal_within_a_destructor_stops_the_work():
    before = signal.getsignal(signal.SIGTERM)
    began = time.monotonic()
    with pytest.raises(Interrupted), stop_politely():
        work()
    assert time.monotonic() - began < 5
    assert signal.getsignal(signal.SIGTERM) == before
