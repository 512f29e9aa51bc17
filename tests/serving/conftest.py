"""Fixtures of the serving tests: a stand-in server, in its own process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STANDIN = Path(__file__).with_name("standin.py")


class Server:
    """A running stand-in server; see standin.py for what it is and is not."""

    def __init__(self, base: Path, *arguments: str):
        # What it runs on has nothing of this repository in it, and one thread per pool is enough.
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(STANDIN), str(base), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
        )
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the stand-in server did not start")
        ports = json.loads(line)
        self.pid = ports["pid"]
        self.rest = f"http://127.0.0.1:{ports['rest']}"
        self.grpc = f"grpc://127.0.0.1:{ports['grpc']}"

    def wait_for_request(self) -> None:
        """Returns once a server with a delay has begun to answer one more request."""
        assert self.process.stdout.readline() == b"asked\n"

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait(10)


@pytest.fixture(scope="session")
def start_server(saved_model):
    """Starts stand-in servers, and ends those that are left."""
    pytest.importorskip("tensorflow_serving.apis", reason="mosei_ssl[serving] is not installed")
    servers = []

    def start(*arguments: str, base: Path = saved_model.parent) -> Server:
        servers.append(Server(base, *arguments))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def server(start_server) -> Server:
    """One server that the tests share; they leave it as it was."""
    return start_server()
