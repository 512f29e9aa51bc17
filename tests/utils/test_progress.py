"""What the log says of long work."""

import threading

from mosei_ssl.utils import progress as module
from mosei_ssl.utils.progress import progress


def test_work_that_is_not_counted_tells_its_time(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(module, "LOG_SECONDS", 0.01)
    handle, told = module.logger.handle, threading.Event()
    monkeypatch.setattr(module.logger, "handle", lambda record: handle(record) or told.set())
    with progress("writing") as advance:
        assert told.wait(10)
        advance(3)
        told.clear()
        assert told.wait(10)
    assert caplog.messages[0] == "writing: 0 s so far"
    assert caplog.messages[-1] == "writing: 3 done in 0 s so far"
