"""TF Serving's gRPC interface."""

from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from mosei_ssl.serving import errors
from mosei_ssl.serving.client import Client
from mosei_ssl.serving.signatures import EXAMPLES_SIGNATURE, OUTPUTS, serialise

_KINDS: dict[str, type[errors.ServerError]] = {
    **dict.fromkeys(("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"), errors.ServerUnavailable),
    **dict.fromkeys(("CANCELLED", "UNKNOWN", "INTERNAL", "DATA_LOSS"), errors.ServerError),
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
    "INVALID_ARGUMENT": errors.InputRefused,
    "NOT_FOUND": errors.ModelNotFound,
}
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 64 * 2**20),
    # `Client` repeats requests, within its deadline.
    ("grpc.enable_retries", 0),
    # Otherwise a server that comes back is found only after minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    # Where a name has several addresses, as that of a headless service.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.dns_min_time_between_resolutions_ms", 5000),
]


class GrpcClient(Client):
    """Asks over gRPC, at a target of gRPC such as `dns:///HOST:PORT`, all of its addresses in turn.

    Segments are sent as serialised examples: what a server pads for a batch with the requests of
    others, its model cannot check any more, and strings are never padded.

    With `tls` the connection is encrypted, checked with the system's certificates.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        version: int | None = None,
        tls: bool = False,
        **options: Any,
    ):
        scheme = "grpcs" if tls else "grpc"
        super().__init__(
            f"{scheme}://{target.removeprefix('dns:///')}", model_name, version, **options
        )
        self._channel = (
            grpc.secure_channel(target, grpc.ssl_channel_credentials(), options=_CHANNEL_OPTIONS)
            if tls
            else grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
        )
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def _send(self, segments: list[np.ndarray], seconds: float) -> dict[str, Any]:
        import tensorflow as tf

        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = EXAMPLES_SIGNATURE
        if self.label is not None:
            request.model_spec.version_label = self.label
        examples = request.inputs["examples"]
        examples.dtype = tf.string.as_datatype_enum
        examples.tensor_shape.dim.add(size=len(segments))
        examples.string_val.extend(map(serialise, segments))
        request.output_filter.extend(OUTPUTS)
        answer = self._call(self._prediction.Predict, request, seconds)
        try:
            return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}
        except (TypeError, ValueError) as error:
            raise self._nonsense(f"answered with broken tensors ({error}).") from None

    def _status(self, seconds: float) -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest()
        answer = self._call(self._models.GetModelStatus, request, seconds)
        state = get_model_status_pb2.ModelVersionStatus.State
        return {int(s.version): state.Name(s.state) for s in answer.model_version_status}

    def _call(self, method: Any, request: Any, seconds: float) -> Any:
        request.model_spec.name = self.model_name
        if self.version is not None:
            request.model_spec.version.value = self.version
        try:
            return method(request, timeout=seconds)
        except grpc.RpcError as error:
            code = error.code().name
            raise self._failure(
                _KINDS.get(code, errors.RequestRejected), code, error.details() or ""
            ) from error
