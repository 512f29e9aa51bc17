"""TF Serving's gRPC interface."""

from typing import Any

import numpy as np

from mosei_ssl.serving.batching import pad
from mosei_ssl.serving.client import (
    BadAnswer,
    Client,
    InputRefused,
    RequestRejected,
    ServerError,
    ServerUnavailable,
)
from mosei_ssl.serving.schema import OUTPUTS, PREDICT_SIGNATURE
from mosei_ssl.utils.errors import UserError

try:
    import grpc
    from tensorflow_serving.apis import (
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )
except ImportError:
    raise UserError(
        "talking to a server over gRPC needs tensorflow-serving-api: "
        "pip install 'mosei_ssl[serving]'."
    ) from None

_TEMPORARY = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
}
_REJECTED = {
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
}


class GrpcClient(Client):
    """Asks over gRPC; batches of similar length are padded and sent as tensors.

    Args:
        target: `HOST:PORT`.
        model_name: name of the model on the server.
        version: which version; None for the highest.
        tls: encrypt, with the system's certificates.
        **options: see `Client`.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        version: int | None = None,
        tls: bool = False,
        **options: Any,
    ):
        super().__init__(f"grpc{'s' if tls else ''}://{target}", model_name, version, **options)
        limits = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", 64 * 2**20),
            # Repeating is ours to do, within our deadline.
            ("grpc.enable_retries", 0),
            # Or a server that comes back is found only after minutes.
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = (
            grpc.secure_channel(target, grpc.ssl_channel_credentials(), options=limits)
            if tls
            else grpc.insecure_channel(target, options=limits)
        )
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def _send(self, segments: list[np.ndarray], seconds: float) -> dict[str, Any]:
        import tensorflow as tf

        features, length = pad(segments)
        request = predict_pb2.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = PREDICT_SIGNATURE
        request.inputs["features"].CopyFrom(tf.make_tensor_proto(features))
        request.inputs["length"].CopyFrom(tf.make_tensor_proto(length))
        request.output_filter.extend(OUTPUTS)
        answer = self._call(self._prediction.Predict, request, seconds)
        try:
            return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}
        except (TypeError, ValueError) as error:
            raise BadAnswer(f"{self.address} answered with broken tensors ({error}).") from None

    def _status(self, seconds: float) -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest()
        self._address(request.model_spec)
        answer = self._call(self._models.GetModelStatus, request, seconds)
        state = get_model_status_pb2.ModelVersionStatus.State
        return {int(s.version): state.Name(s.state) for s in answer.model_version_status}

    def _address(self, spec: Any) -> None:
        spec.name = self.model_name
        if self.version is not None:
            spec.version.value = self.version

    def _call(self, method: Any, request: Any, seconds: float) -> Any:
        try:
            return method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise self._failure(error.code(), error.details() or "") from error

    def _failure(self, code: grpc.StatusCode, details: str) -> ServerError:
        details = " ".join(details.split())[:500]
        where = f"{self.address}, model {self.model_name!r}"
        if code in _TEMPORARY:
            return ServerUnavailable(
                f"{self.address} cannot be reached, is overloaded, or dropped the connection "
                f"({details}). Is the server running there?"
            )
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._too_late()
        if code == grpc.StatusCode.NOT_FOUND:
            return RequestRejected(f"{where}: there is no such model or version ({details}).")
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            return InputRefused(f"{where}: the server refuses the request ({details}).")
        if code in _REJECTED:
            return RequestRejected(f"{where}: the server refuses the request ({details}).")
        return ServerError(f"{where}: the server failed with {code.name} ({details}).")
