"""Many clients at once against `mosei-ssl serve`: what is lost, memory, waiting times.

    python benchmarks/gateway_load.py [--requests 10000] [--clients 200] [--seconds 0.3]

A gateway with the shipped model in its own process, over HTTP. Every client sends a clip of its
own, drawn anew, and waits for the answer; nothing is cached. Prints lines for
benchmarks/results/serving.md, and exits with 1 if a request was lost.
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
    process, url = await start("--queue", str(options.clients + 50), "--timeout", "600")
    memory, waits = [megabytes(process)], []
    codes: collections.Counter[str] = collections.Counter()
    work = clips(options.requests, options.seconds)

    async def client() -> None:
        async with httpx.AsyncClient(timeout=600) as http:
            for clip in work:
                begin = time.perf_counter()
                try:
                    answer = await http.post(f"{url}/v1/emotions", content=clip)
                    whole = answer.status_code != 200 or len(answer.json()) == 1
                    codes[str(answer.status_code) if whole else "broken"] += 1
                except httpx.HTTPError as error:
                    codes[type(error).__name__] += 1
                waits.append(time.perf_counter() - begin)
                if len(waits) % max(options.requests // 10, 1) == 0:
                    memory.append(megabytes(process))

    begin = time.perf_counter()
    try:
        await asyncio.gather(*(client() for _ in range(options.clients)))
    finally:
        process.terminate()
        process.wait()
    took = time.perf_counter() - begin
    p50, p99 = np.percentile(waits, [50, 99])
    print(
        f"{options.requests} requests of {options.seconds:g} s from {options.clients} clients in "
        f"{took:.0f} s ({options.requests / took:.1f}/s, {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.0f}): answers {dict(codes)}; p50 {p50:.2f} s, p99 {p99:.2f} s; "
        f"memory of all its processes {', '.join(f'{m:.0f}' for m in memory)} MB"
    )
    return 0 if codes == {"200": options.requests} else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.3, help="of audio in a request")
    return asyncio.run(load(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
