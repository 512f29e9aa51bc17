"""Fixtures of the serving tests: a stand-in server, in its own process."""

import json
from multiprocessing import Pipe
from pathlib import Path

import pytest
from children import start_child
from serving_child import serve


class Server:
    """A running stand-in server; see standin.py for what it is and is not."""

    def __init__(self, log: Path, base: Path, *arguments: str):
        self.pipe, theirs = Pipe()
        # One thread per pool is enough.
        self.process = start_child(
            serve, [str(base), "--threads", "1", *arguments], theirs, log=log
        )
        theirs.close()
        try:
            ports = json.loads(self.pipe.recv())
        except EOFError:
            raise RuntimeError(f"the stand-in server did not start: {log.read_text()}") from None
        self.pid = ports["pid"]
        self.rest = f"http://127.0.0.1:{ports['rest']}"
        self.grpc = f"grpc://127.0.0.1:{ports['grpc']}"

    def wait_for_request(self) -> None:
        """Returns once a server with a delay has begun to answer one more request."""
        assert self.pipe.recv() == "asked"

    def stop(self) -> None:
        self.pipe.send("stop")
        self.process.join(10)

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        self.process.join(10)


@pytest.fixture(scope="session")
def start_server(saved_model, tmp_path_factory):
    """Starts stand-in servers, and ends those that are left."""
    pytest.importorskip("tensorflow_serving.apis", reason="mosei_ssl[serving] is not installed")
    servers = []
    log = tmp_path_factory.mktemp("servers") / "log"

    def start(*arguments: str, base: Path = saved_model.parent) -> Server:
        servers.append(Server(log, base, *arguments))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.is_alive():
            server.stop()


@pytest.fixture(scope="session")
def server(start_server) -> Server:
    """One server that the tests share; they leave it as it was."""
    return start_server()
