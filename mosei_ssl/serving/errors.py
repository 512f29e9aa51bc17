"""What can go wrong between a client and a server."""

from mosei_ssl.utils.errors import UserError


class ServerError(UserError):
    """A server did not answer as it should; the message says what happened."""


class ServerUnavailable(ServerError):
    """It cannot be reached, is overloaded, or dropped the connection: worth another try."""


class DeadlineExceeded(ServerError):
    """It did not answer in the time allowed."""


class RequestRejected(ServerError):
    """It refused the request: unknown model, bad tensors."""


class ModelNotFound(RequestRejected):
    """It has no such model or version."""


class InputRefused(RequestRejected):
    """It refused the tensors, of this request or of another one in the same batch."""


class BadAnswer(ServerError):
    """What came back is not an answer of this kind of model."""
