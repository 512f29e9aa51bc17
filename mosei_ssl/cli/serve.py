"""Answer recordings over HTTP: POST one to /v1/emotions, and get what `predict` prints as JSON.

A model here, or one on a TF Serving server. SIGTERM stops it once what is in progress is answered.

Examples:
  mosei-ssl serve --port 8080
  mosei-ssl serve --server grpc://localhost:8500 --model saved_models/emotion
  curl --data-binary @talk.wav http://localhost:8080/v1/emotions
"""

import logging
import os
import socket
from dataclasses import dataclass

from mosei_ssl.gateway.limits import Limits
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import ranged


@dataclass(kw_only=True)
class ServeOptions(Limits):
    """Options of `mosei-ssl serve`.

    Args:
        model: saved_models/NAME, NAME/VERSION, a run or a preset (default: emotion-small); with
            --server the export that runs there, for its threshold and the means of its training.
        server: a TF Serving server, http://HOST:8501 or grpc://HOST:8500, that runs the model.
        model_name: name of the model on the server.
        version: which version of it (default: the highest that is served).
        label: instead of --version: the label of one, such as stable.
        host: address to listen at; 0.0.0.0 for all of this machine.
        port: port to listen at.
    """

    model: str | None = None
    server: str | None = None
    model_name: str = "emotion"
    version: int | None = None
    label: str | None = None
    host: str = "127.0.0.1"
    port: int = ranged(8080, 0, 65535)


def run(options: ServeOptions) -> int:
    try:
        import uvicorn

        from mosei_ssl.gateway.app import create_app
    except ImportError as error:
        raise UserError(
            f"a gateway needs more packages ({error}): pip install 'mosei_ssl[gateway]'"
        ) from None
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:  # before the model is read, which takes longer
        socket.create_server((options.host, options.port), family=family).close()
    except OSError as error:
        raise UserError(
            f"no gateway at {options.host}, port {options.port}: {error.strerror or error}; --host "
            "and --port choose another place"
        ) from None
    from mosei_ssl import presets
    from mosei_ssl.serving import LocalModel, connect
    from mosei_ssl.serving.drift import DriftWindow
    from mosei_ssl.serving.predictor import Predictor

    predictor: Predictor
    if options.server is None:
        # Its matrix products cost more to set up than these small ones take.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        predictor = LocalModel(options.model or presets.DEFAULT)
    else:
        predictor = connect(
            options.server,
            options.model_name,
            options.version,
            label=options.label,
            export=options.model,
            timeout=options.timeout,
        )
    drift = DriftWindow.of(predictor.directory) if predictor.directory else None
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, force=True)
    # Remarks for whoever calls `predict`: here they would come with nearly every request.
    logging.getLogger("mosei_ssl.serving.predictor").setLevel(logging.ERROR)
    config = uvicorn.Config(
        create_app(predictor, options, drift),
        host=options.host,
        port=options.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(options.timeout) + 1,
    )
    try:
        uvicorn.Server(config).run()
    except SystemExit:  # with 3, which says of our commands that an export was changed
        raise UserError("the gateway did not start: the lines above say why") from None
    return 0
