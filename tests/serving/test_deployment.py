"""TF Serving's files, checked with its own protos; the others by what their readers require."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from mosei_ssl.serving.deployment import IMAGE, deployment_files, write_deployment
from mosei_ssl.serving.warmup import WARMUP, write_warmup

pytest.importorskip("tensorflow_serving.apis", reason="mosei_ssl[serving] is not installed")


def test_models_config_names_the_model_and_its_place():
    from tensorflow_serving.config import model_server_config_pb2

    text = deployment_files("emotion")["models.config"]
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (
        "emotion",
        "/models/emotion",
        "tensorflow",
    )


def message(name, fields):
    """A message type with these fields, for protos that are not in tensorflow-serving-api."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    proto = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        added = proto.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
        if isinstance(kind, str):
            added.type, added.type_name = kinds.TYPE_MESSAGE, kind
        else:
            added.type = kind
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()


def test_batching_parameters_pad_and_bound():
    number, kinds = ".google.protobuf.Int64Value", descriptor_pb2.FieldDescriptorProto
    # The fields of BatchingParameters in TF Serving's session_bundle_config.proto that we use.
    fields = dict.fromkeys(
        ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"),
        number,
    )
    parameters = message(
        "BatchingParameters", {**fields, "pad_variable_length_inputs": kinds.TYPE_BOOL}
    )
    text_format.Parse(deployment_files("emotion")["batching.config"], parameters)
    assert parameters.pad_variable_length_inputs
    assert parameters.max_batch_size.value == 64
    assert parameters.max_enqueued_batches.value > 0


def test_monitoring_is_on():
    text = deployment_files("emotion")["monitoring.config"]
    kinds = descriptor_pb2.FieldDescriptorProto
    inner = text.split("prometheus_config {")[1].split("}")[0]
    config = message("Prometheus", {"enable": kinds.TYPE_BOOL, "path": kinds.TYPE_STRING})
    text_format.Parse(inner, config)
    assert config.enable
    assert config.path == "/monitoring/prometheus/metrics"


def test_compose_mounts_what_the_flags_name():
    files = deployment_files("My Model")
    services = yaml.safe_load(files["docker-compose.yml"])["services"]
    server, gateway = services["my-model"], services["my-model-gateway"]
    assert server["image"] == f"${{TF_SERVING_IMAGE:-{IMAGE}}}"
    assert server["volumes"] == ["..:/models/My Model:ro", ".:/config:ro"]
    named = [flag.split("/config/")[1] for flag in server["command"] if "/config/" in flag]
    assert set(named) <= set(files)
    assert server["environment"] == {"TF_ENABLE_ONEDNN_OPTS": "0"}
    # Only this machine may ask.
    ports = [port for service in services.values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert gateway["depends_on"] == {"my-model": {"condition": "service_healthy"}}
    assert "--server=grpc://my-model:8500" in gateway["command"]


def test_health_check_of_compose(server):
    text = deployment_files("emotion")["docker-compose.yml"]
    check = yaml.safe_load(text)["services"]["emotion"]["healthcheck"]["test"]
    assert check[0] == "CMD"
    asks = check[-1].replace("/8501", "/" + server.rest.rpartition(":")[2])
    for command, code in ((asks, 0), (asks.replace("emotion", "absent"), 1), (check[-1], 1)):
        done = subprocess.run([*check[1:-1], command], capture_output=True, timeout=30)
        assert done.returncode == code


def test_the_gateway_takes_the_options_that_the_files_give_it():
    from mosei_ssl.cli import serve
    from mosei_ssl.cli.options import parse_options

    files = deployment_files("emotion")
    compose = yaml.safe_load(files["docker-compose.yml"])["services"]["emotion-gateway"]
    deployment, *_ = yaml.safe_load_all(files["gateway.yaml"])
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    entry = json.loads(files["Dockerfile"].split("ENTRYPOINT")[1])
    assert entry[:2] == ["mosei-ssl", "serve"]
    for arguments in (compose["command"], container["args"]):
        options = parse_options(serve, [*entry[2:], *arguments])
        assert (options.host, options.label, options.model) == (
            "0.0.0.0",
            "stable",
            "/models/emotion",
        )
        assert (
            options.timeout
            < deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            == int(compose["stop_grace_period"].rstrip("s"))
        )


def objects(files):
    """Those of Kubernetes, by kind and name."""
    found = [
        o for name in ("kubernetes.yaml", "gateway.yaml") for o in yaml.safe_load_all(files[name])
    ]
    return {(o["kind"], o["metadata"]["name"]): o for o in found}


def test_kubernetes_objects_fit_together():
    files = deployment_files("emotion_2")
    found = objects(files)
    kustomization = yaml.safe_load(files["kustomization.yaml"])
    assert set(kustomization["resources"]) <= set(files)
    [config] = kustomization["configMapGenerator"]
    assert set(config["files"]) == {"models.config", "batching.config", "monitoring.config"}
    images = {i["name"]: f"{i['name']}:{i['newTag']}" for i in kustomization["images"]}
    assert images["tensorflow/serving"] == IMAGE
    for app, ports, ready in (
        ("emotion-2-serving", {"grpc": 8500, "rest": 8501}, "/v1/models/emotion_2"),
        ("emotion-2-gateway", {"http": 8080}, "/readyz"),
    ):
        deployment = found["Deployment", app]
        pod = deployment["spec"]["template"]
        labels = pod["metadata"]["labels"]
        assert labels == deployment["spec"]["selector"]["matchLabels"] == {"app": app}
        assert "replicas" not in deployment["spec"]  # which the autoscaler sets
        [container] = pod["spec"]["containers"]
        assert container["image"] in images
        assert {p["name"]: p["containerPort"] for p in container["ports"]} == ports
        service = found["Service", app]["spec"]
        assert service["selector"] == labels
        assert {port["targetPort"] for port in service["ports"]} == set(ports)
        assert container["readinessProbe"]["httpGet"]["path"] == ready
        assert {"livenessProbe", "startupProbe"} < set(container)
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert volumes["config"]["configMap"]["name"] == config["name"]
        scaled = found["HorizontalPodAutoscaler", app]["spec"]
        assert scaled["scaleTargetRef"]["name"] == app
        budget = found["PodDisruptionBudget", app]["spec"]
        assert budget["selector"]["matchLabels"] == labels
        assert budget["minAvailable"] < scaled["minReplicas"]
    headless = found["Service", "emotion-2-serving-all"]["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["selector"] == {"app": "emotion-2-serving"}
    [gateway] = found["Deployment", "emotion-2-gateway"]["spec"]["template"]["spec"]["containers"]
    assert "--server=grpc://emotion-2-serving-all:8500" in gateway["args"]
    assert all("_" not in name for _, name in found)


def test_kubernetes_schema_accepts_the_manifest():
    validate = pytest.importorskip("kubernetes_validate", reason="not installed: no schemas")
    for item in objects(deployment_files("emotion")).values():
        validate.validate(item, "1.31", strict=True)


def test_adapted_files_are_left_alone(tmp_path):
    folder, texts = tmp_path / "emotion" / "deployment", deployment_files("emotion")
    write_deployment(folder.parent)
    assert {file.name: file.read_text() for file in folder.iterdir()} == texts
    (folder / "models.config").write_text("mine")
    (folder / "batching.config").unlink()
    write_deployment(folder.parent)
    assert (folder / "batching.config").read_text() == texts["batching.config"]
    assert (folder / "models.config").read_text() == "mine"


def warmup_logs(directory):
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tf.data.TFRecordDataset(str(directory / WARMUP)):
        yield prediction_log_pb2.PredictionLog.FromString(record.numpy())


def test_warmup_covers_lengths_and_signatures_and_is_answered(saved_model):
    requests = [log.predict_log.request for log in warmup_logs(saved_model)]
    assert 10 <= len(requests) <= 1000
    assert (saved_model / WARMUP).stat().st_size < 300_000
    loaded = tf.saved_model.load(str(saved_model))
    lengths = set()
    for request in requests:
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        if "length" in inputs:
            lengths.add(int(inputs["length"].max()))
            assert inputs["features"].shape == (*inputs["length"].shape, inputs["length"][0], 74)
        signature = loaded.signatures[request.model_spec.signature_name]
        outputs = signature(**{name: tf.constant(value) for name, value in inputs.items()})
        assert all(np.isfinite(x).all() for n, x in outputs.items() if n != "emotions")
    assert {r.model_spec.signature_name for r in requests} == set(loaded.signatures)
    assert {50, 650, 1660, 12_000} <= lengths


def test_warmup_needs_no_protos_of_tf_serving_and_is_what_they_would_write(
    saved_model, tmp_path, monkeypatch
):
    from tensorflow_serving.apis import prediction_log_pb2

    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    write_warmup(tmp_path, tf.saved_model.load(str(saved_model)).signatures)
    monkeypatch.undo()
    assert (tmp_path / WARMUP).read_bytes() == (saved_model / WARMUP).read_bytes()
    for log in warmup_logs(tmp_path):
        given, again = log.predict_log.request, prediction_log_pb2.PredictionLog()
        request = again.predict_log.request
        request.model_spec.signature_name = given.model_spec.signature_name
        for name, tensor in given.inputs.items():
            request.inputs[name].CopyFrom(tensor)
        assert again == log
        # An unknown field would be kept, and compare as equal to nothing.
        assert log.SerializeToString(deterministic=True) == again.SerializeToString(
            deterministic=True
        )
