"""The gateway over real sockets: answers of `predict`, refusals that say why, and recovery."""

import contextlib
import io
import json
import os
import random
import signal
import socket
import threading
import time
from importlib import resources

import httpx
import numpy as np
import psutil
import pytest
import soundfile
from children import start_child
from prometheus_client.parser import text_string_to_metric_families
from serving_child import gateway_command

from mosei_ssl.cli import main
from mosei_ssl.gateway.app import create_app
from mosei_ssl.gateway.limits import Limits
from mosei_ssl.serving import LocalModel, connect, output, read_segments
from mosei_ssl.serving.drift import QUANTITIES, DriftWindow
from mosei_ssl.serving.predictor import predict_records

uvicorn = pytest.importorskip("uvicorn", reason="mosei_ssl[gateway] is not installed")
FUZZ_CASES = int(os.environ.get("MOSEI_SSL_FUZZ_CASES", "100"))


def audio(seconds=0.3, form="WAV", subtype=None, rate=16_000, channels=1):
    """A buzz at 120 Hz as the bytes of a file."""
    count = int(seconds * rate)
    samples = np.sign(np.sin(2 * np.pi * 120 * np.arange(count) / rate)) / 10
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples] * channels, axis=1), rate, subtype, format=form)
    return file.getvalue()


@pytest.fixture(scope="module")
def gateway(saved_model):
    """One with a local model and one process, over HTTP."""
    limits = Limits(workers=1, max_megabytes=2, max_seconds=5, timeout=300)
    app = create_app(LocalModel(saved_model), limits)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    address = listening.getsockname()
    # The port is open, but connections are taken once the processes are warm.
    with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", timeout=60) as client:
        client.get("/healthz")
        client.address, client.limits = address, limits
        client.own, client.routes = app.app.state.gateway, app.app.routes
        yield client
    server.should_exit = True
    thread.join()


def ask(gateway, content, **options):
    return gateway.post("/v1/emotions", content=content, **options)


def refused(answer, code, text):
    assert answer.status_code == code, answer.text
    assert text in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


def test_answers_are_those_of_predict(gateway, saved_model, speech_wav):
    found = predict_records(LocalModel(saved_model), read_segments(speech_wav, window=0.6))
    expected = output.to_text(list(found), "json")
    for name in ("speech.wav", "../../etc/speech.wav", "C:\\x\\speech.wav"):
        files = {"file": (name, speech_wav.read_bytes())}
        answer = gateway.post("/v1/emotions?window=0.6", files=files)
        assert answer.headers["content-type"] == "application/json"
        assert answer.text == expected
    [first, _] = ask(gateway, speech_wav.read_bytes(), params={"window": 0.6}).json()
    assert first["name"] == "recording"
    certain = ask(gateway, speech_wav.read_bytes(), params={"threshold": 1}).json()
    assert [record["most_likely"] for record in certain] == ["none"]


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "FLOAT"), ("FLAC", None), ("OGG", None), ("MP3", None)]
)
def test_kinds_of_files(gateway, form, subtype):
    answer = ask(gateway, audio(form=form, subtype=subtype, rate=44_100, channels=2))
    assert answer.status_code == 200, answer.text
    assert len(answer.json()) == 1


FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.wav"\r\n\r\nabc\r\n'


@pytest.mark.parametrize(
    ("content", "options", "code", "text"),
    [
        (b"", {}, 400, "body is empty"),
        (b"", {"headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
        (b"nothing", {"headers": {"Content-Type": FORM}}, 400, "form"),
        (PART, {"headers": {"Content-Type": FORM}}, 400, "to its end"),
        (PART + PART + b"--x--", {"headers": {"Content-Type": FORM}}, 400, "Too many files"),
        (b"x", {"params": {"windows": 3}}, 400, "no parameter 'windows'"),
        (b"x", {"params": {"window": "long"}}, 400, "must be a number"),
        (b"x", {"params": {"window": 121}}, 400, "at most 120"),
        (b"x", {"params": {"threshold": "nan"}}, 400, "must be at least 0"),
        (b"plainly text", {}, 415, "not readable as audio"),
        (audio(form="AIFF"), {}, 415, "this is AIFF"),
        (audio()[:30], {}, 415, "not readable as audio"),
        (audio(0.05), {}, 422, "too short"),
        (audio(0.3, "FLAC", rate=400_000), {}, 422, "192000"),
        (audio(6), {}, 413, "at most 5 s"),
        (audio(6, "OGG"), {}, 413, "at most 5 s"),
        (bytes(2_000_001), {}, 413, "more than 2 MB"),
        (iter([bytes(1_000_001)] * 9), {}, 413, "more than 2 MB"),
    ],
    # Contents, in part random, are no names.
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_refusals(gateway, content, options, code, text):
    refused(ask(gateway, content, **options), code, text)


def test_ids_come_back_and_bad_ones_are_replaced(gateway):
    refused(gateway.get("/v1/emotions"), 405, "Method Not Allowed")
    refused(gateway.get("/nothing"), 404, "Not Found")
    given = [("X-Request-Id", "a-1")], [("X-Request-Id", "a b")], [("X-Request-Id", "x" * 129)]
    came = [gateway.get("/nothing", headers=headers).headers["X-Request-Id"] for headers in given]
    assert came[0] == "a-1"
    assert len(came[1]) == len(came[2]) == 32


def begin(gateway, body):
    """A request of which a part has been sent, and is being waited for."""
    connection = socket.create_connection(gateway.address)
    head = f"POST /v1/emotions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[:100])
    while measure(gateway, "mosei_gateway_in_progress") < 1:
        pass
    return connection


def measure(gateway, name, **labels):
    [value] = [
        sample.value
        for family in text_string_to_metric_families(gateway.get("/metrics").text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return value


def test_a_full_queue_is_429_and_empties_again(gateway, monkeypatch):
    monkeypatch.setattr(gateway.limits, "queue", 1)
    with begin(gateway, audio()) as first:
        answer = ask(gateway, audio())
        refused(answer, 429, "try again")
        assert answer.headers["Retry-After"] == "1"
        first.sendall(audio()[100:])
        assert first.recv(100).startswith(b"HTTP/1.1 200")
    assert ask(gateway, audio()).status_code == 200


def test_a_client_that_leaves_frees_its_place(gateway, monkeypatch):
    monkeypatch.setattr(gateway.limits, "queue", 1)
    begin(gateway, audio()).close()
    while measure(gateway, "mosei_gateway_in_progress"):
        pass
    assert ask(gateway, audio()).status_code == 200


def test_time_outs(gateway, monkeypatch):
    monkeypatch.setattr(gateway.limits, "timeout", 0.2)
    with begin(gateway, audio()) as slow:
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    refused(ask(gateway, audio(5)), 504, "too long")
    monkeypatch.undo()
    assert ask(gateway, audio()).status_code == 200  # by another process


def kill_processes():
    """End those that compute features, if there are any now."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()


def test_a_process_that_dies_takes_no_request_with_it(gateway):
    before = measure(gateway, "mosei_gateway_extraction_deaths")
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(gateway, audio(2)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while measure(gateway, "mosei_gateway_in_progress") < 2:
        pass
    kill_processes()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    # One that has nothing to do is missed by nobody either.
    kill_processes()
    assert ask(gateway, audio()).status_code == 200
    assert measure(gateway, "mosei_gateway_extraction_deaths") == before + 2


def test_a_recording_that_processes_die_of_is_refused(gateway):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(gateway, audio(5))))
    thread.start()
    while thread.is_alive():
        kill_processes()
    refused(answers[0], 422, "cannot be worked through")
    assert ask(gateway, audio()).status_code == 200


def test_back_end_away_and_back(gateway, monkeypatch, start_server):
    server = start_server("--no-warmup")
    with connect(server.grpc, timeout=60) as client:
        monkeypatch.setattr(gateway.own, "predictor", client)
        expected = ask(gateway, audio()).json()
        assert gateway.get("/readyz").status_code == 200
        server.kill()
        answer = ask(gateway, audio())
        refused(answer, 503, "cannot be reached")
        assert answer.headers["Retry-After"] == "1"
        refused(gateway.get("/readyz"), 503, "cannot be reached")
        assert gateway.get("/healthz").status_code == 200
        start_server("--no-warmup", "--grpc-port", server.grpc.rpartition(":")[2])
        answers = (ask(gateway, audio()) for _ in range(20))  # as Retry-After advises
        assert next(a.json() for a in answers if a.status_code != 503) == expected
        assert gateway.get("/readyz").status_code == 200


def test_drift_is_a_metric(gateway, monkeypatch):
    never = {name: {"edges": [1e9], "shares": [0.0, 1.0]} for name in QUANTITIES}
    monkeypatch.setattr(gateway.own, "drift", DriftWindow(never))
    assert ask(gateway, audio(2.5), params={"window": 0.01}).status_code == 200
    for quantity in QUANTITIES:
        assert measure(gateway, "mosei_gateway_drift_psi", quantity=quantity) > 6


def test_an_unforeseen_error_is_500_without_its_text(gateway, monkeypatch):
    monkeypatch.setattr(gateway.own.predictor, "predict", lambda *_, **__: 1 / 0)
    refused(ask(gateway, audio()), 500, "see the log")


def test_the_description_has_the_routes_and_what_they_answer(gateway):
    text = resources.files("mosei_ssl.gateway").joinpath("openapi.json").read_text()
    description = gateway.get("/openapi.json").json()
    assert description == json.loads(text)
    routes = {route.path: route.methods - {"HEAD"} for route in gateway.routes}
    told = {path: {m.upper() for m in of} for path, of in description["paths"].items()}
    assert told == routes
    [record] = ask(gateway, audio()).json()
    schemas = description["components"]["schemas"]
    assert list(record) == list(schemas["Record"]["properties"])
    [full] = ask(gateway, audio(), params={"full": 1}).json()
    for found, schema in ((record, "Emotion"), (full, "FullEmotion")):
        for emotion in found["emotions"].values():
            assert list(emotion) == list(schemas[schema]["properties"])
    codes = description["paths"]["/v1/emotions"]["post"]["responses"]
    assert {"200", "400", "413", "415", "422", "429", "503", "504"} <= set(codes)


def hostile(draw):
    """A body that is damaged, random, or claims what it has not."""
    form = draw.choice(["WAV", "FLAC", "OGG", "MP3"])
    whole = bytearray(WHOLE.setdefault(form, audio(form=form)))
    kind = draw.randrange(5)
    if kind == 0:
        return bytes(whole[: draw.randrange(len(whole))])
    if kind == 1:
        return draw.randbytes(draw.randrange(1, 3000))
    if kind == 2:  # the claims of a header: sizes, rates, channels
        start = draw.randrange(min(len(whole), 60) - 4)
        whole[start : start + 4] = draw.choice([b"\xff" * 4, b"\x00" * 4, draw.randbytes(4)])
    if kind == 3:
        for _ in range(draw.randrange(1, 50)):
            whole[draw.randrange(len(whole))] = draw.randrange(256)
    if kind == 4:
        return bytes(whole[:40]) + draw.randbytes(2000)
    return bytes(whole)


WHOLE: dict[str, bytes] = {}


def test_hostile_bodies_get_an_answer_and_leave_nothing(gateway):
    draw = random.Random(0)
    kinds = [None, "audio/wav", FORM, "application/json", "multipart/form-data; boundary="]
    codes: dict[int, int] = {}
    threads = None
    for case in range(FUZZ_CASES):
        kind = draw.choices(kinds, [8, 4, 1, 1, 1])[0]
        headers = {"Content-Type": kind} if kind else {}
        answer = ask(gateway, hostile(draw), headers=headers)
        codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
        if case == FUZZ_CASES // 2:
            process = psutil.Process()
            threads, files = process.num_threads(), process.num_fds()
    assert set(codes) <= {200, 400, 413, 415, 422}, codes
    assert codes[415] > FUZZ_CASES / 10
    assert codes[200] > FUZZ_CASES / 20
    assert psutil.Process().num_fds() <= files + 2
    assert psutil.Process().num_threads() <= threads + 2
    assert measure(gateway, "mosei_gateway_in_progress") == 0
    assert ask(gateway, audio()).status_code == 200


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_in_use_is_bad_input_and_found_before_a_model_is_read(monkeypatch, capsys):
    monkeypatch.setattr("mosei_ssl.serving.LocalModel", lambda *_: pytest.fail("it was read"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"no gateway at 127.0.0.1, port {port}: Address already in use" in said


def test_sigterm_lets_what_is_in_progress_finish(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["--port", str(port), "--server", server.rest, "--workers", "1"]
    process = start_child(gateway_command, *arguments, log=tmp_path / "log")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        while not listens(port):
            assert process.is_alive(), (tmp_path / "log").read_text()
            time.sleep(0.05)
        client.address = ("127.0.0.1", port)
        workers = psutil.Process(process.pid).children(recursive=True)
        slow = audio(rate=8_000)  # `predict` would remark on the rate
        with begin(client, slow) as first:
            os.kill(process.pid, signal.SIGTERM)
            first.sendall(slow[100:])
            assert first.recv(100).startswith(b"HTTP/1.1 200")
    process.join(60)
    assert process.exitcode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert not any(worker.is_running() for worker in workers)
    log = (tmp_path / "log").read_text()
    assert "POST '/v1/emotions' 200" in log
    assert "sampled" not in log
