"""Every way in which a call to Dokploy can fail.

DokployError
├── DokployUnreachable      no connection, or it broke
│   └── DokployCircuitOpen      not even asked: it has not answered for a while
├── DokployTimeout          no answer within the call's deadline
├── DokployUnauthorized     401
│   ├── DokployKeyRefused       the key is wrong, or its rate limit is used up: Dokploy does not say which
│   ├── DokployDatabaseDown     Dokploy cannot look the key up, because its PostgreSQL is down
│   └── DokployForbidden        the key is right, but not for this
├── DokployNotFound         404: the thing is not there
├── DokployBadRequest       any other 4xx: Dokploy did not accept the request
├── DokployServerError      5xx
└── DokployUnreadable       an answer that is not Dokploy's: HTML of a proxy, too much of it
    └── DokployMisfit           JSON, but of a shape that no model fits
"""


class DokployError(Exception):
    """A call to Dokploy failed.

    call: the procedure, such as `project.create`; status: the HTTP status, None without an answer.
    message: Dokploy's own words, secrets masked, for a log and never for a tenant: they can hold SQL and commands.
    uncertain: whether the call may have had its effect all the same, so that a create must be looked up.
    """

    uncertain = False

    def __init__(self, call: str, message: str, *, status: int | None = None, uncertain: bool | None = None) -> None:
        super().__init__(f"{call}: {status or 'no answer'}: {message}")
        self.call = call
        self.message = message
        self.status = status
        if uncertain is not None:
            self.uncertain = uncertain


class DokployUnreachable(DokployError):
    """No connection, or it broke. Uncertain once the request was on its way."""


class DokployCircuitOpen(DokployUnreachable):
    """The call was not made, because the circuit is open. Certain: nothing has happened. cause: what opened it."""

    def __init__(self, call: str, message: str, *, cause: DokployError | None = None) -> None:
        super().__init__(call, message)
        self.cause = cause


class DokployTimeout(DokployError):
    """No answer within the call's deadline."""

    uncertain = True


class DokployUnauthorized(DokployError):
    """401 of one kind or another; the subclasses say which."""


class DokployKeyRefused(DokployUnauthorized):
    """The key is wrong, or its rate limit is used up."""


class DokployDatabaseDown(DokployUnauthorized):
    """Dokploy answers 401 because its own database is down."""


class DokployForbidden(DokployUnauthorized):
    """The key is accepted, but not for this object."""


class DokployNotFound(DokployError):
    """The thing is not there."""


class DokployBadRequest(DokployError):
    """Dokploy did not accept the request."""


class DokployServerError(DokployError):
    """Dokploy failed; what the call should have done may be done."""

    uncertain = True


class DokployUnreadable(DokployError):
    """What answered was not Dokploy, or not as it is known."""

    uncertain = True


class DokployMisfit(DokployUnreadable):
    """Dokploy's JSON is not what its version 0.30 answers; asking again would not help."""
