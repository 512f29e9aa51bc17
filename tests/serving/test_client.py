"""Clients over real sockets: the same answers either way, and clear messages on failure."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import numpy as np
import pandas
import pytest

from mosei_ssl.cli import main
from mosei_ssl.serving import LocalModel, Recognizer, connect
from mosei_ssl.serving.errors import (
    BadAnswer,
    DeadlineExceeded,
    RequestRejected,
    ServerError,
    ServerUnavailable,
)
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS

PROTOCOLS = ("rest", "grpc")


def speech(*lengths):
    draw = np.random.default_rng(7)
    segments = [draw.normal(scale=3.0, size=(n, 74)).astype(np.float32) for n in lengths]
    segments[0][0, 7] = -np.inf
    segments[-1][-1, 2] = np.nan
    return segments


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_answers_are_those_of_the_saved_model(server, saved_model, protocol):
    segments = speech(80, 1, 33, 200, 33)
    truth = LocalModel(saved_model).predict(segments)
    done = []
    with connect(getattr(server, protocol), max_batch=2) as client:
        answers = client.predict(segments, progress=done.append)
        assert client.status() == {1: "AVAILABLE"}
    assert sum(done) == 5
    assert len(done) == 3
    for name in OUTPUTS:
        assert answers[name].shape == (5, 6)
        assert answers[name].dtype == truth[name].dtype
        np.testing.assert_allclose(answers[name], truth[name], atol=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_in_context_a_server_answers_as_the_export_does(server, saved_model, tmp_path, protocol):
    rows = np.concatenate(speech(900, 600)) + 2.0
    np.save(tmp_path / "talk.npy", rows)
    url, export = getattr(server, protocol), saved_model.parent

    def predict(*options):
        out = tmp_path / "out.csv"
        command = ["predict", str(tmp_path / "talk.npy"), "--window", "5", "--format", "csv"]
        assert main([*command, "--out", str(out), *map(str, options)]) == 0
        return pandas.read_csv(out)

    here = predict("--model", export)
    pandas.testing.assert_frame_equal(predict("--model", export, "--server", url), here)
    columns = [f"{emotion}_expected" for emotion in EMOTIONS]
    alone = predict("--server", url)[columns]
    assert np.abs(alone - here[columns]).max(axis=None) > 1e-3
    parts = [rows[:500], rows[500:1000], rows[1000:]]
    with connect(url, export=export, timeout=60) as client:
        found = client.predict(parts, recording=rows)["expected"]
        table = Recognizer(client).predict(tmp_path / "talk.npy", window=5.0)
    np.testing.assert_allclose(found, here[columns], atol=1e-5)
    np.testing.assert_allclose(table[columns], here[columns], atol=1e-5)
    with connect(url) as client, pytest.raises(UserError, match="export=EXPORT"):
        client.predict(parts, recording=rows)


def test_examples_are_written_as_tensorflow_writes_them():
    import tensorflow as tf

    from mosei_ssl.serving.rest_client import serialise

    for rows in speech(3, 700):
        parsed = tf.train.Example.FromString(serialise(rows))
        assert list(parsed.features.feature) == ["features"]
        values = parsed.features.feature["features"].float_list.value
        np.testing.assert_array_equal(np.array(values, np.float32), rows.ravel())


def test_rest_needs_no_tensorflow():
    code = (
        "import sys; from mosei_ssl.serving import connect; connect('http://localhost:1');"
        "print(sorted({'tensorflow', 'keras', 'grpc'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_unknown_model_or_version_is_reported_at_once(server, protocol):
    for options in ({"model_name": "other"}, {"version": 7}):
        with (
            connect(getattr(server, protocol), **options) as client,
            pytest.raises(RequestRejected, match="no such model or version"),
        ):
            client.predict(speech(5))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bad_segments_never_leave(protocol):
    with connect({"rest": "http", "grpc": "grpc"}[protocol] + "://localhost:1") as client:
        for rows in (np.zeros((3, 73)), np.zeros((0, 74)), np.zeros((12_001, 74))):
            with pytest.raises(UserError, match="segment 0 has"):
                client.predict([rows])
        assert client.predict([])["intensity"].shape == (0, 6)


@pytest.mark.parametrize(
    "url", ["localhost:8501", "ftp://x", "http://", "grpc://x:port", "http://["]
)
def test_malformed_addresses_are_refused(url):
    with pytest.raises(UserError, match="URL of a server"):
        connect(url)


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_absent_server_is_reported_after_a_few_tries(scheme):
    started = time.monotonic()
    with (
        connect(f"{scheme}://127.0.0.1:{free_port()}", timeout=5) as client,
        pytest.raises(ServerUnavailable, match="Is the server running there"),
    ):
        client.predict(speech(5))
    assert time.monotonic() - started < 5


@pytest.fixture(scope="module")
def stuck(start_server):
    """A server that takes half a minute for every answer."""
    return start_server("--delay", "30", "--no-warmup")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slow_server_is_given_up(stuck, protocol):
    started = time.monotonic()
    with (
        connect(getattr(stuck, protocol), timeout=0.5) as client,
        pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.5 s"),
    ):
        client.predict(speech(5))
    stuck.wait_for_request()
    assert time.monotonic() - started < 10


def test_a_server_killed_while_it_answers_is_reported(stuck):
    reported = {}

    def ask(protocol):
        with connect(getattr(stuck, protocol), timeout=20) as client:
            try:
                client.predict(speech(5))
            except ServerUnavailable as error:
                reported[protocol] = str(error)

    threads = [threading.Thread(target=ask, args=(protocol,)) for protocol in PROTOCOLS]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for _ in threads:
        stuck.wait_for_request()
    stuck.kill()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 10
    assert set(reported) == set(PROTOCOLS)
    assert all("dropped the connection" in message for message in reported.values())


class Scripted(BaseHTTPRequestHandler):
    """Answers each request with the next of a list: (status, body), or "hang up", or "drip"."""

    answers: ClassVar[list] = []
    seen: ClassVar[int] = 0

    def log_message(self, *_):
        pass

    def do_POST(self):
        type(self).seen += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, body = (200, b" " * 200) if answer == "drip" else answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body if answer == "drip" else [body]:
            try:
                self.wfile.write(bytes([byte]) if answer == "drip" else byte)
                self.wfile.flush()
            except OSError:
                return
            if answer == "drip":
                time.sleep(0.1)


@pytest.fixture
def scripted():
    def start(*answers):
        handler = type("Handler", (Scripted,), {"answers": list(answers), "seen": 0})
        server = HTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", handler

    servers: list = []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def good(value=1.0, emotions=6):
    return 200, json.dumps({"outputs": {name: [[value] * emotions] for name in OUTPUTS}}).encode()


def test_what_is_lost_is_sent_again(scripted):
    overloaded = (503, b'{"error": "queue is full"}')
    url, handler = scripted(overloaded, "hang up", good())
    with connect(url) as client:
        assert client.predict(speech(5))["intensity"].tolist() == [[1.0] * 6]
    assert handler.seen == 3


def test_what_is_refused_is_sent_once_more(scripted):
    # A server that batches gives a good request the error of a bad one beside it.
    refusal = (400, b'{"error": "features must be\\n [batch]"}')
    url, handler = scripted(refusal, good())
    with connect(url) as client:
        assert client.predict(speech(5))["intensity"].tolist() == [[1.0] * 6]
    assert handler.seen == 2
    url, handler = scripted(refusal, refusal, good())
    with (
        connect(url) as client,
        pytest.raises(RequestRejected, match=r"refuses the request \(features must be \[batch\]\)"),
    ):
        client.predict(speech(5))
    assert handler.seen == 2


def test_a_model_that_is_not_there_is_not_asked_for_again(scripted):
    url, handler = scripted((404, b'{"error": "Servable not found"}'), good())
    with connect(url) as client, pytest.raises(RequestRejected, match="no such model or version"):
        client.predict(speech(5))
    assert handler.seen == 1


@pytest.mark.parametrize("url", ["http://192.168.1.300:8501", "http://b\u00fccher..de:8501"])
def test_an_impossible_address_is_refused(url):
    with pytest.raises(UserError, match="is not a URL of a server"):
        connect(url)


def test_version_0_is_a_version():
    with connect("http://localhost:8501", version=0) as client:
        assert client._path.endswith("/versions/0")


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((200, b"<html>hello</html>"), BadAnswer, "is it TF Serving"),
        ((200, b"[1, 2]"), BadAnswer, "is it TF Serving"),
        ((200, b'{"outputs": 3}'), BadAnswer, "without 'outputs'"),
        ((200, b'{"outputs": {}}'), BadAnswer, "'intensity' is missing"),
        (good(emotions=5), BadAnswer, r"'intensity' has shape \[1, 5\]"),
        (good(value=float("nan")), BadAnswer, "not finite"),
        (good(value="x"), BadAnswer, "not numbers"),
        ((500, b"boom"), ServerError, r"HTTP status 500 \(boom\)"),
        ((504, b""), DeadlineExceeded, "did not answer within"),
        ((503, b"busy"), ServerUnavailable, "overloaded"),
    ],
)
def test_unusable_answers_are_reported(scripted, answer, kind, message):
    url, _ = scripted(answer)
    with connect(url, timeout=3) as client, pytest.raises(kind, match=message) as raised:
        client.predict(speech(5))
    assert "\n" not in str(raised.value)


def test_a_server_that_drips_is_given_up(scripted):
    url, _ = scripted("drip")
    started = time.monotonic()
    with connect(url, timeout=0.6) as client, pytest.raises(DeadlineExceeded):
        client.predict(speech(5))
    assert time.monotonic() - started < 3


def post(url, body):
    request = urllib.request.Request(url, data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_rest_by_hand_as_documented(server, saved_model, emotion_model):
    rows = np.nan_to_num(speech(12)[0], neginf=0.0).round(3)
    url = f"{server.rest}/v1/models/emotion:predict"
    truth = LocalModel(saved_model).predict([rows])
    by_row = {"instances": [{"features": rows.tolist(), "length": 12}]}
    status, answer = post(url, json.dumps(by_row).encode())
    assert status == 200
    [prediction] = answer["predictions"]
    assert prediction["emotions"] == list(EMOTIONS)
    np.testing.assert_allclose(prediction["present"], truth["present"][0], atol=1e-5)
    by_column = {"inputs": {"features": [rows.tolist()], "length": [12]}}
    status, answer = post(url, json.dumps(by_column).encode())
    np.testing.assert_allclose(answer["outputs"]["expected"], truth["expected"], atol=1e-5)
    embedding = {**by_column, "signature_name": "embedding"}
    status, answer = post(url, json.dumps(embedding).encode())
    assert np.shape(answer["outputs"]) == (1, emotion_model.embedding_dim)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "JSON Parse error"),
        (b"[]", "Request must have"),
        (b'{"inputs": {"features": [[1]], "length": [1]}}', "features must be"),
        (b'{"inputs": {"features": [[["x"]]], "length": [1]}}', "cannot be made a tensor"),
        (b'{"inputs": {"length": [1]}}', "does not match signature"),
        (b'{"inputs": {"features": [], "length": []}, "signature_name": "x"}', "not found"),
        (
            b'{"inputs": {"examples": [{"b64": "/w=="}]}, "signature_name": "serving_examples"}',
            "Could not parse example",
        ),
        (
            b'{"inputs": {"examples": [{"b64": "?"}]}, "signature_name": "serving_examples"}',
            "cannot be made a tensor",
        ),
        (
            json.dumps({"inputs": {"features": [[[0.0] * 74] * 12_001], "length": [5]}}).encode(),
            "at most 12000 frames",
        ),
    ],
)
def test_a_server_survives_malformed_requests(server, body, message):
    status, answer = post(f"{server.rest}/v1/models/emotion:predict", body)
    assert status == 400
    assert message in answer["error"]
    with connect(server.grpc) as client:
        assert client.status() == {1: "AVAILABLE"}


def test_a_server_survives_malformed_protos(server):
    import grpc

    with grpc.insecure_channel(server.grpc.removeprefix("grpc://")) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError):
            call(b"\xff\xff\xff\xff", timeout=10)
    with connect(server.grpc) as client:
        assert client.predict(speech(5))["class"].shape == (1, 6)


def test_metadata_describes_the_signatures(server):
    url = f"{server.rest}/v1/models/emotion/metadata"
    with urllib.request.urlopen(url, timeout=10) as answer:
        signatures = json.load(answer)["metadata"]["signature_def"]["signature_def"]
    names = {"serving_default", "serving_context", "serving_examples", "embedding"}
    assert set(signatures) == names
    dims = signatures["serving_default"]["inputs"]["features"]["tensor_shape"]["dim"]
    assert [int(dim["size"]) for dim in dims] == [-1, -1, 74]
    assert signatures["serving_default"]["inputs"]["length"]["dtype"] == "DT_INT32"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_clients_at_once(server, saved_model, protocol):
    segments = speech(20, 5)
    truth = LocalModel(saved_model).predict(segments)
    wrong: list = []

    def ask():
        try:
            with connect(getattr(server, protocol), timeout=60) as client:
                answers = client.predict(segments)
            np.testing.assert_allclose(answers["present"], truth["present"], atol=1e-5)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def test_memory_stays_flat_over_hundreds_of_requests(server):
    segments = speech(200)
    with connect(server.grpc) as by_grpc, connect(server.rest) as by_rest:
        for number in range(350):
            by_grpc.predict(segments)
            by_rest.predict(segments)
            if number == 50:
                before = resident_bytes(server.pid)
    assert resident_bytes(server.pid) - before < 8 * 2**20  # a fourth of what was sent


def test_grpc_asks_all_servers_of_a_name_in_turn(start_server):
    from mosei_ssl.serving.grpc_client import GrpcClient

    servers = [start_server("--no-warmup", "--delay", "0.001") for _ in range(2)]
    places = ",".join(server.grpc.removeprefix("grpc://") for server in servers)
    with GrpcClient(f"ipv4:{places}", "emotion", timeout=60) as client:
        client.status()
        # The second connection may come up after the first.
        for _ in range(100):
            client.predict(speech(20))
            if all(server.pipe.poll() for server in servers):
                break
    for server in servers:
        server.wait_for_request()
    with connect("grpc://localhost:8500") as client:
        assert client.address == "grpc://localhost:8500"
