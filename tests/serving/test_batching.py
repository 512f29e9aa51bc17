"""Clients whose requests a server runs as one: nobody's answer depends on the others."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mosei_ssl.serving import LocalModel, connect
from mosei_ssl.serving.signatures import EXAMPLES_SIGNATURE, PREDICT_SIGNATURE, serialise

pytest.importorskip("tensorflow_serving.apis", reason="mosei_ssl[serving] is not installed")


@pytest.fixture(scope="module")
def batching(start_server):
    return start_server("--no-warmup", "--batching", "2")


def segments(seed, *lengths):
    draw = np.random.default_rng(seed)
    return [draw.normal(scale=3.0, size=(n, 74)).astype(np.float32) for n in lengths]


def together(*calls):
    """What each gives, asked at the same time."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [done.result() for done in [threads.submit(call) for call in calls]]


def by_hand(server, signature, **inputs):
    """The status and the answer of a request that no client of ours would send."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "emotion", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with grpc.insecure_channel(server.grpc.removeprefix("grpc://")) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            return "OK", tf.make_ndarray(stub.Predict(request, timeout=60).outputs["expected"])
        except grpc.RpcError as error:
            return error.code().name, None


def test_two_interleaved_clients_get_their_own_answers(batching, saved_model):
    given = segments(0, 30, 700, 5), segments(1, 400, 60)
    rounds = threading.Barrier(2)

    def ask(rows):
        found = []
        with connect(batching.grpc, timeout=60) as client:
            for _ in range(5):
                rounds.wait(60)
                found.append(client.predict(rows)["expected"])
        return found

    answers = together(lambda: ask(given[0]), lambda: ask(given[1]))
    for rows, found in zip(given, answers, strict=True):
        truth = LocalModel(saved_model).predict(rows)["expected"]
        for values in found:
            np.testing.assert_allclose(values, truth, atol=1e-5)


def test_padding_weakens_the_checks_of_tensors_but_not_of_examples(batching, saved_model):
    [long] = segments(2, 90)
    narrow = np.ones((1, 20, 1), np.float32)
    whole = {"features": long[None], "length": [90]}
    truth = LocalModel(saved_model).predict([long])["expected"]
    (code, found), (weak, _) = together(
        lambda: by_hand(batching, PREDICT_SIGNATURE, **whole),
        lambda: by_hand(batching, PREDICT_SIGNATURE, features=narrow, length=[20]),
    )
    np.testing.assert_allclose(found, truth, atol=1e-5)
    assert (code, weak) == ("OK", "OK")  # why `serving_examples` is what clients ask
    example = serialise(narrow[0])
    both = together(
        lambda: by_hand(batching, EXAMPLES_SIGNATURE, examples=[serialise(long)]),
        lambda: by_hand(batching, EXAMPLES_SIGNATURE, examples=[example]),
    )
    assert [code for code, _ in both] == ["INVALID_ARGUMENT"] * 2


def test_a_bad_foreign_request_costs_a_client_one_more_try(batching, saved_model):
    rows = segments(3, 45)
    bad = serialise(np.ones((20, 1)))
    truth = LocalModel(saved_model).predict(rows)["expected"]

    def foreign():
        # The second, which is good, is there for the client's second try.
        first = by_hand(batching, EXAMPLES_SIGNATURE, examples=[bad])
        return first, by_hand(batching, EXAMPLES_SIGNATURE, examples=[serialise(rows[0])])

    def client():
        with connect(batching.grpc, timeout=60) as asks:
            return asks.predict(rows)["expected"]

    found, ((refused, _), (code, _)) = together(client, foreign)
    np.testing.assert_allclose(found, truth, atol=1e-5)
    assert (refused, code) == ("INVALID_ARGUMENT", "OK")
