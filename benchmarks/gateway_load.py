"""Many clients at once against `mosei-ssl serve`: what is lost, memory, waiting times.

    python benchmarks/gateway_load.py [--requests 10000] [--clients 200] [--seconds 0.3]
    python benchmarks/gateway_load.py --kill --requests 2000 --clients 50

A gateway with the shipped model in its own process, over HTTP. Every client sends a clip of its
own, drawn anew, and waits for the answer; nothing is cached. With --kill the model runs in the
tests' stand-in server, which is killed once a third of the requests are answered, and started
again once half are. Prints lines for benchmarks/results/serving.md, and exits with 1 if a request
was lost, or if one that was sent after the server was back got no emotions.
"""

import argparse
import asyncio
import collections
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import numpy as np
import psutil
import soundfile
from serving import Server

from mosei_ssl import presets


def clips(count: int, seconds: float) -> Iterator[bytes]:
    """Voices of different pitch in noise, as wav files."""
    draw = np.random.default_rng(0)
    at = np.arange(int(16_000 * seconds)) / 16_000
    for _ in range(count):
        wave = np.sign(np.sin(2 * np.pi * draw.uniform(90, 250) * at)) * 0.1
        file = io.BytesIO()
        soundfile.write(file, wave + draw.normal(scale=0.01, size=len(at)), 16_000, format="WAV")
        yield file.getvalue()


async def start(*options: str) -> tuple[subprocess.Popen, str]:
    """A gateway that is ready, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mosei_ssl", "serve", "--port", str(port), *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as client:
        while process.poll() is None:
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return process, url
            except httpx.TransportError:
                await asyncio.sleep(0.2)
    raise SystemExit("the gateway did not start")


def megabytes(process: subprocess.Popen) -> float:
    """Resident memory of a process and all it has started."""
    parent = psutil.Process(process.pid)
    return sum(p.memory_info().rss for p in (parent, *parent.children(recursive=True))) / 1e6


async def load(options: argparse.Namespace) -> int:
    """Run it and print what was found."""
    arguments = ["--queue", str(options.clients + 50), "--timeout", "600"]
    back_end = None
    if options.kill:
        model = presets.find(presets.DEFAULT)
        back_end = Server(model)
        arguments += ["--server", back_end.urls["gRPC"], "--model", str(model)]
    process, url = await start(*arguments)
    memory = [megabytes(process)]
    answers: list[tuple[float, float, str]] = []
    work = clips(options.requests, options.seconds)

    async def client() -> None:
        async with httpx.AsyncClient(timeout=600) as http:
            for clip in work:
                sent = time.perf_counter()
                try:
                    answer = await http.post(f"{url}/v1/emotions", content=clip)
                    whole = answer.status_code != 200 or len(answer.json()) == 1
                    code = str(answer.status_code) if whole else "broken"
                except httpx.HTTPError as error:
                    code = type(error).__name__
                answers.append((sent, time.perf_counter(), code))
                if len(answers) % max(options.requests // 10, 1) == 0:
                    memory.append(megabytes(process))

    async def answered(count: int) -> None:
        while len(answers) < count:
            await asyncio.sleep(0.02)

    async def interrupt() -> float:
        """Kill the back end and start it again; when it was back."""
        nonlocal back_end
        await answered(options.requests // 3)
        back_end.process.kill()
        back_end.process.wait()
        await answered(options.requests // 2)
        port = back_end.urls["gRPC"].rpartition(":")[2]
        back_end = await asyncio.to_thread(Server, model, "--grpc-port", port)
        return time.perf_counter()

    begin = time.perf_counter()
    clients = [client() for _ in range(options.clients)]
    try:
        _, back = await asyncio.gather(
            asyncio.gather(*clients), interrupt() if back_end else asyncio.sleep(0)
        )
    finally:
        process.terminate()
        process.wait()
        if back_end:
            back_end.process.kill()
    took = time.perf_counter() - begin
    codes = collections.Counter(code for *_, code in answers)
    p50, p99 = np.percentile([end - sent for sent, end, _ in answers], [50, 99])
    print(
        f"{options.requests} requests of {options.seconds:g} s from {options.clients} clients in "
        f"{took:.0f} s ({options.requests / took:.1f}/s, {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.0f}): answers {dict(codes)}; p50 {p50:.2f} s, p99 {p99:.2f} s; "
        f"memory of all its processes {', '.join(f'{m:.0f}' for m in memory)} MB"
    )
    if back_end is None:
        return 0 if codes == {"200": options.requests} else 1
    first = min(end for _, end, code in answers if code == "200" and end > back) - back
    after = collections.Counter(code for sent, _, code in answers if sent > back)
    print(
        f"the back end was killed, and started again; emotions came {first:.2f} s after it was "
        f"back; answers to requests sent from then on: {dict(after)}"
    )
    return 0 if set(codes) == {"200", "503"} and set(after) == {"200"} else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.3, help="of audio in a request")
    parser.add_argument("--kill", action="store_true", help="the back end while clients ask")
    return asyncio.run(load(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
