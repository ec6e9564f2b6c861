"""What can go wrong in the service, each kind with its status; doors give it their own shape."""


class ServiceError(Exception):
    """A refusal with one sentence for the person who asked.

    Args:
        message: the sentence shown, without secrets.
        retry_after: seconds after which asking again makes sense, for a Retry-After header.
    """

    status = 500

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Invalid(ServiceError):
    """The request itself is wrong."""

    status = 400


class NoFile(Invalid):
    """The upload carries no file."""


class Unauthorized(ServiceError):
    """Nobody we know: absent, malformed, unknown, revoked and banned look the same.

    Without a message it gets the sentence of the door that tells it.
    """

    status = 401

    def __init__(self, message: str = "") -> None:
        super().__init__(message)


class Forbidden(ServiceError):
    """Somebody we know, who may not do this."""

    status = 403


class NotFound(ServiceError):
    """There is no such thing, or not for the one who asks."""

    status = 404


class Conflict(ServiceError):
    """The state of things forbids it."""

    status = 409


class Gone(ServiceError):
    """It was there, and its time is over."""

    status = 410


class NameTaken(Conflict):
    """Another account has this username."""


class WrongVersion(ServiceError):
    """The client speaks another version of the protocol."""

    status = 412


class TooLarge(ServiceError):
    """More bytes than the host takes."""

    status = 413


class Blocked(ServiceError):
    """A kind of file that the operator does not take."""

    status = 415


class WrongType(Blocked):
    """The body is of another kind than this address takes."""


class Locked(ServiceError):
    """Another request is at it just now."""

    status = 423


class TooMany(ServiceError):
    """Too many requests or failures within the time allowed."""

    status = 429


class Refused(ServiceError):
    """Content that an admin has taken down."""

    status = 451


class WrongChecksum(ServiceError):
    """The bytes are not those that the client sent; the status is tus's own."""

    status = 460


class Busy(ServiceError):
    """No place free just now."""

    status = 503


class Moving(Busy):
    """Nothing is written here while the host is moved to another database or file store."""


class Unavailable(Busy):
    """A part that this server needs does not answer just now."""

    def __init__(
        self,
        message: str = "The file store does not answer just now; try again soon.",
        *,
        retry_after: int | None = 5,
    ) -> None:
        super().__init__(message, retry_after=retry_after)


class Unsure(Unavailable):
    """It does not answer, and nobody knows whether it has done what it was asked."""


class NoSpace(ServiceError):
    """No room for these bytes: disk, reserve or quota."""

    status = 507
