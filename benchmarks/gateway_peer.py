"""The gateway with a local model beside MLServer that serves the same SavedModel and recordings.

    python -m venv PEER && PEER/bin/pip install mlserver 'uvloop<0.22'   # and 'mosei_ssl[audio]'
    python benchmarks/gateway_peer.py --peer PEER/bin/python [--requests 200] [--seconds 1]

Both run in their own processes on this machine and take turns, so that other work on it hits both:
ten requests to one, ten to the other. MLServer gets a custom runtime (`PeerRuntime`) that does what
the gateway does: decode, extract, predict, in its parallel workers, one per core. Prints a table
for benchmarks/results/serving.md.
"""

import argparse
import asyncio
import base64
import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
from gateway_load import clips, megabytes, start

RUNTIME = """
import base64, io, json
from mlserver import MLModel, types


class PeerRuntime(MLModel):
    async def load(self):
        import tensorflow as tf
        from mosei_ssl import presets

        loaded = tf.saved_model.load(str(presets.find("emotion-small") / "1"))
        self.loaded, self.function = loaded, loaded.signatures["serving_default"]
        return True

    async def predict(self, payload):
        import numpy as np, soundfile, tensorflow as tf
        from mosei_ssl.covarep import extract

        [given] = payload.inputs
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(given.data[0])))
        rows = extract(samples, rate)[None]
        out = self.function(features=tf.constant(rows), length=tf.constant([rows.shape[1]]))
        outputs = [
            types.ResponseOutput(
                name=n, shape=[1, 6], datatype="FP32", data=list(map(float, out[n][0]))
            )
            for n in ("intensity", "class", "present", "expected")
        ]
        return types.InferenceResponse(model_name=self.name, outputs=outputs)
"""


async def start_peer(python: str, folder: Path) -> tuple[subprocess.Popen, str]:
    """MLServer, ready, and its address."""
    ports = []
    for _ in range(3):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    names = ("http_port", "grpc_port", "metrics_port")
    settings = {**dict(zip(names, ports, strict=True)), "parallel_workers": os.cpu_count()}
    settings["debug"] = False
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "emotion", "implementation": "peer.PeerRuntime"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "peer.py").write_text(RUNTIME)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [python, "-c", "import mlserver.cli as c; c.main()", "start", str(folder)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{ports[0]}"
    async with httpx.AsyncClient() as client:
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            try:
                if (await client.get(f"{url}/v2/models/emotion/ready")).status_code == 200:
                    return process, url
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.5)
    process.terminate()
    raise SystemExit("MLServer did not start")


def gateway_request(clip: bytes) -> dict:
    return {"url": "/v1/emotions?full=1&window=0", "content": clip}


def peer_request(clip: bytes) -> dict:
    data = [base64.b64encode(clip).decode()]
    given = {"name": "audio", "shape": [1], "datatype": "BYTES", "data": data}
    return {"url": "/v2/models/emotion/infer", "json": {"inputs": [given]}}


async def compare(options: argparse.Namespace) -> None:
    """Measure both and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OMP_NUM_THREADS"] = "1"
        sides: dict = {}
        try:
            sides["MLServer"] = (*(await start_peer(options.peer, Path(folder))), peer_request)
            sides["gateway"] = (*(await start()), gateway_request)
            rows = []
            for clients in (1, 8):
                rows += await measure(clients, sides, options)
        finally:
            for process, _, _ in sides.values():
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.terminate()
                process.terminate()
    print(f"| {options.seconds:g} s of audio | clients | p50 ms | p99 ms | memory MB |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(row)
    print(f"{options.requests} requests each, load average {os.getloadavg()[0]:.0f}")


async def measure(clients: int, sides: dict, options: argparse.Namespace) -> list[str]:
    """Rows of so many clients at once, a row per server."""
    rows = []
    waits: dict[str, list[float]] = {name: [] for name in sides}
    work = list(clips(options.requests, options.seconds))
    async with httpx.AsyncClient(timeout=600) as http:

        async def ask(name: str, clip: bytes, gate: asyncio.Semaphore) -> None:
            _, url, form = sides[name]
            request = form(clip)
            request["url"] = url + request["url"]
            async with gate:
                begin = time.perf_counter()
                answer = await http.post(**request)
                waits[name].append(time.perf_counter() - begin)
            answer.raise_for_status()

        for name in sides:  # neither pays for its first request
            await ask(name, work[0], asyncio.Semaphore(1))
            waits[name].clear()
        turn = 5 * clients if clients > 1 else 10
        for begin in range(0, len(work), turn):
            for name in sides:
                gate = asyncio.Semaphore(clients)
                await asyncio.gather(*(ask(name, c, gate) for c in work[begin : begin + turn]))
    for name, (process, _, _) in sides.items():
        p50, p99 = np.percentile(waits[name], [50, 99]) * 1e3
        rows.append(f"| {name} | {clients} | {p50:.0f} | {p99:.0f} | {megabytes(process):.0f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, help="python of an environment with mlserver")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0, help="of audio in a request")
    asyncio.run(compare(parser.parse_args()))


if __name__ == "__main__":
    main()
