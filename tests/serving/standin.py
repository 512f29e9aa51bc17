"""A stand-in for TF Serving's server, FOR TESTS ONLY: not a server to run.

TF Serving's own binary is in no package registry. This one speaks its REST and gRPC interfaces
with its official protos, loads the SavedModel with plain TensorFlow (and nothing of mosei_ssl),
and runs the warm-up requests first, so that clients, faults and load are tested over real sockets.
It knows one model: its highest version or, with --models-config, the versions and labels of that
file, which it reads again when it has changed. With --batching N it waits for N requests of one
signature, pads them to each other and runs them as one, as TF Serving does with
pad_variable_length_inputs. It has no monitoring.

    python standin.py saved_models/emotion [--name emotion] [--delay SECONDS] [--no-warmup]

It prints one line of JSON with its ports once it is ready, with --delay another for every request
that it has begun to answer, and ends when its input is closed. The tests, which fork it from a
process that has imported TensorFlow, use a pipe instead.
"""

import argparse
import base64
import json
import os
import re
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format, text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

SCHEMA_INIT = "__saved_model_init_op"
HTTP_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class Failure(Exception):
    """A request that cannot be answered, with its gRPC status."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def invalid(message):
    return Failure(grpc.StatusCode.INVALID_ARGUMENT, message)


class Batcher:
    """Runs so many requests of a signature at once; the error of one is that of all."""

    def __init__(self, run, size):
        self.run, self.size = run, size
        self.waiting = {}
        self.changed = threading.Condition()

    def __call__(self, signature, inputs):
        entry = {"inputs": inputs}
        with self.changed:
            group = self.waiting.setdefault(signature, [])
            group.append(entry)
            if len(group) == self.size:
                del self.waiting[signature]
                self.answer(signature, group)
                self.changed.notify_all()
            else:
                self.changed.wait_for(lambda: "outputs" in entry or "error" in entry)
        if "error" in entry:
            raise entry["error"]
        return entry["outputs"]

    def answer(self, signature, group):
        ends = np.cumsum([len(next(iter(e["inputs"].values()))) for e in group])[:-1]
        try:
            merged = {
                name: self.merge([entry["inputs"][name] for entry in group])
                for name in group[0]["inputs"]
            }
            outputs = self.run(signature, merged)
            split = {name: np.split(values, ends) for name, values in outputs.items()}
            for number, entry in enumerate(group):
                entry["outputs"] = {name: parts[number] for name, parts in split.items()}
        except Failure as failure:
            for entry in group:
                entry["error"] = failure

    @staticmethod
    def merge(arrays):
        shape = np.max([array.shape[1:] for array in arrays], axis=0)
        padded = []
        for array in arrays:
            missing = shape - array.shape[1:]
            ends = [(0, 0), *((0, count) for count in missing)]
            first = array.flat[0]
            padded.append(np.pad(array, ends, constant_values=first) if array.ndim > 1 else array)
        return np.concatenate(padded)


class Manager:
    """The versions of a model that are served, and their labels."""

    def __init__(self, base, name, say, config=None):
        self.base, self.name, self.say = Path(base), name, say
        self.config, self.seen, self.labels, self.served = config, None, {}, {}
        self.lock = threading.Lock()
        if config is None:
            self.load({max(int(d.name) for d in self.base.iterdir() if d.name.isdecimal())})

    def load(self, versions):
        self.served = {
            version: self.served.get(version) or Servable(self.base, self.name, version, self.say)
            for version in sorted(versions)
        }

    def refresh(self):
        """What polling does: TF Serving refuses to move a label to what it has not loaded."""
        if self.config is None:
            return
        with self.lock:
            text = Path(self.config).read_text()
            if text == self.seen:
                return
            self.seen = text
            parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
            [entry] = parsed.model_config_list.config
            assert (entry.name, entry.model_platform) == (self.name, "tensorflow")
            for label, version in entry.version_labels.items():
                if label in self.labels and version not in self.served:
                    self.say(f"refused: {label} {version}")
                    return
            self.load(entry.model_version_policy.specific.versions)
            self.labels = dict(entry.version_labels)

    def find(self, spec):
        self.refresh()
        missing = f"Servable not found for request: {spec.name} {spec.version_label}"
        if spec.name != self.name:
            raise Failure(grpc.StatusCode.NOT_FOUND, missing)
        version = max(self.served)
        if spec.HasField("version"):
            version = spec.version.value
        elif spec.version_label:
            if spec.version_label not in self.labels:
                message = f"Unrecognized servable version label: {spec.version_label}"
                raise Failure(grpc.StatusCode.INVALID_ARGUMENT, message)
            version = self.labels[spec.version_label]
        if version not in self.served:
            raise Failure(grpc.StatusCode.NOT_FOUND, missing)
        return self.served[version]

    def status(self, spec):
        self.find(spec)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in [spec.version.value] if spec.HasField("version") else self.served:
            response.model_version_status.add(
                version=version, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE
            )
        return response


class Servable:
    """A version of a model."""

    def __init__(self, base, name, version, say):
        self.name, self.delay, self.say = name, 0.0, say
        self.version, self.batcher = version, None
        self.directory = base / str(version)
        self.loaded = tf.saved_model.load(str(self.directory))
        meta = saved_model_pb2.SavedModel.FromString(
            (self.directory / "saved_model.pb").read_bytes()
        )
        definitions = dict(meta.meta_graphs[0].signature_def)
        definitions.pop(SCHEMA_INIT, None)
        self.definitions = definitions

    def warm_up(self):
        file = self.directory / "assets.extra" / "tf_serving_warmup_requests"
        if not file.exists():
            return
        for record in tf.data.TFRecordDataset(str(file)):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            self.predict(log.predict_log.request)

    def predict(self, request):
        """A PredictRequest to a PredictResponse."""
        signature = request.model_spec.signature_name or "serving_default"
        try:
            inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        except (TypeError, ValueError, KeyError) as error:
            raise invalid(f"tensor parsing error: {error}") from None
        outputs = (self.batcher or self.run)(signature, inputs)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = signature
        wanted = list(request.output_filter) or list(outputs)
        for name in wanted:
            if name not in outputs:
                raise invalid(f"output tensor alias not found in signature: {name}")
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    def definition(self, signature):
        if signature not in self.definitions:
            raise invalid(f'Serving signature name: "{signature}" not found in signature def')
        return self.definitions[signature]

    def run(self, signature, inputs):
        """Arrays by name to arrays by name."""
        specs = self.definition(signature).inputs
        if set(inputs) != set(specs):
            raise invalid(
                f"input size does not match signature: given {sorted(inputs)}, expected "
                f"{sorted(specs)}"
            )
        tensors = {}
        for name, value in inputs.items():
            kind = tf.as_dtype(specs[name].dtype)
            given = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
            if given != kind:
                raise invalid(f"Expects arg[0] to be {kind.name} but {given.name} is provided")
            tensors[name] = tf.constant(value)
        if self.delay:
            self.say("asked")
            time.sleep(self.delay)
        try:
            outputs = self.loaded.signatures[signature](**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise invalid(error.message) from None
        except tf.errors.ResourceExhaustedError as error:
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, error.message) from None
        except UnicodeDecodeError:
            # TensorFlow's message quotes the bytes that were sent, and Python cannot show them.
            raise invalid("Could not parse example input") from None
        except TypeError as error:
            raise invalid(str(error)) from None
        return {name: value.numpy() for name, value in outputs.items()}

    def metadata(self):
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in self.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(signatures)
        return response


def answering(method):
    """Failures become gRPC statuses."""

    def answer(self, request, context):
        try:
            return method(self, request)
        except Failure as failure:
            context.abort(failure.code, str(failure))

    return answer


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, manager):
        self.manager = manager

    @answering
    def Predict(self, request):
        return self.manager.find(request.model_spec).predict(request)

    @answering
    def GetModelMetadata(self, request):
        return self.manager.find(request.model_spec).metadata()


class Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, manager):
        self.manager = manager

    @answering
    def GetModelStatus(self, request):
        return self.manager.status(request.model_spec)


class Rest(BaseHTTPRequestHandler):
    """/v1/models/NAME[/versions/N or /labels/L][/metadata], and POST ...:predict."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    manager = None
    path_form = re.compile(
        r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([\w-]+))?(/metadata|:predict)?"
    )

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(self.get)

    def do_POST(self):
        self.answer(self.post)

    def answer(self, method):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        try:
            code, content = 200, method(body)
        except Failure as failure:
            code, content = HTTP_CODES.get(failure.code, 500), {"error": str(failure)}
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def target(self):
        match = self.path_form.fullmatch(self.path)
        if not match:
            raise invalid(f"Malformed request: {self.command} {self.path}")
        name, version, label, what = match.groups()
        spec = predict_pb2.PredictRequest().model_spec
        spec.name = name
        if version:
            spec.version.value = int(version)
        if label:
            spec.version_label = label
        return what, spec

    def get(self, _body):
        what, spec = self.target()
        if what == "/metadata":
            message = self.manager.find(spec).metadata()
        elif what is None:
            message = self.manager.status(spec)
        else:
            raise invalid(f"Malformed request: GET {self.path}")
        text = json_format.MessageToJson(message, preserving_proto_field_name=True)
        return json.loads(text)

    def post(self, body):
        what, spec = self.target()
        if what != ":predict":
            raise invalid(f"Malformed request: POST {self.path}")
        servable = self.manager.find(spec)
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise invalid(f"JSON Parse error: {error}") from None
        if not isinstance(request, dict) or ("inputs" in request) == ("instances" in request):
            raise invalid("Request must have one of the keys 'inputs' and 'instances'")
        signature = request.get("signature_name", "serving_default")
        specs = servable.definition(signature).inputs
        rows = "instances" in request
        try:
            named = by_name(request["instances" if rows else "inputs"], list(specs), rows)
            arrays = {
                name: to_array(value, tf.as_dtype(specs[name].dtype) if name in specs else None)
                for name, value in named.items()
            }
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise invalid(f"JSON value cannot be made a tensor: {error}") from None
        return encode(servable.run(signature, arrays), rows)


def by_name(value, names, rows):
    """Inputs of a request by name, in columns."""
    if not rows:
        return value if isinstance(value, dict) else {names[0]: value}
    if value and isinstance(value[0], dict) and "b64" not in value[0]:
        return {name: [row[name] for row in value] for name in value[0]}
    return {names[0]: value}


def to_array(value, kind):
    if kind == tf.string:
        return np.array([decode(item) for item in value], dtype=object)
    return np.array(value, dtype=kind.as_numpy_dtype if kind else None)


def decode(item):
    return base64.b64decode(item["b64"], validate=True) if isinstance(item, dict) else item.encode()


def encode(outputs, rows):
    plain = {
        name: value.astype(str).tolist() if value.dtype == object else value.tolist()
        for name, value in outputs.items()
    }
    if not rows:
        return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
    if len(plain) == 1:
        return {"predictions": next(iter(plain.values()))}
    columns = zip(*plain.values(), strict=True)
    return {"predictions": [dict(zip(plain, row, strict=True)) for row in columns]}


class RestServer(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


def say_on_stdout(text):
    print(text, flush=True)


def main(arguments=None, say=say_on_stdout, wait=sys.stdin.read):
    """Serve until `wait` returns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base")
    parser.add_argument("--name", default="emotion")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--no-warmup", action="store_true")
    parser.add_argument("--batching", type=int, help="requests that are run as one, over gRPC")
    parser.add_argument("--grpc-port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--models-config", help="TF Serving's --model_config_file")
    parser.add_argument("--threads", type=int, default=0, help="of TensorFlow; 0: its choice")
    options = parser.parse_args(arguments)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    manager = Manager(options.base, options.name, say, options.models_config)
    manager.refresh()
    for servable in manager.served.values():
        if not options.no_warmup:
            servable.warm_up()
        servable.delay = options.delay
        if options.batching:
            servable.batcher = Batcher(servable.run, options.batching)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=32),
        options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(manager), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(manager), server)
    grpc_port = server.add_insecure_port(f"127.0.0.1:{options.grpc_port}")
    server.start()
    Rest.manager = manager
    rest = RestServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    say(json.dumps({"grpc": grpc_port, "rest": rest.server_port, "pid": os.getpid()}))
    wait()
    os._exit(0)


if __name__ == "__main__":
    main()
