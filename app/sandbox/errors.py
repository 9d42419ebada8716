"""The error of a procedure: a status, Dokploy's code for it, and a message."""

from typing import Any

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_SUPPORTED",
    408: "TIMEOUT",
    409: "CONFLICT",
    412: "PRECONDITION_FAILED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "UNPROCESSABLE_CONTENT",
    429: "TOO_MANY_REQUESTS",
    499: "CLIENT_CLOSED_REQUEST",
    500: "INTERNAL_SERVER_ERROR",
    501: "NOT_IMPLEMENTED",
    502: "BAD_GATEWAY",
    503: "SERVICE_UNAVAILABLE",
    504: "GATEWAY_TIMEOUT",
}

# JSON-RPC numbers that the native tRPC form adds beside the names.
RPC_NUMBERS = {400: -32600, 401: -32001, 403: -32003, 404: -32004, 413: -32013, 415: -32022, 429: -32029, 500: -32603}


class CallError(Exception):
    """A call that Dokploy refuses."""

    def __init__(self, status: int, message: str, issues: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.issues = issues

    def body(self, path: str | None) -> dict[str, Any]:
        """Tell it in the shape of the REST form; `path` is left out where no procedure was found."""
        code = CODES.get(self.status, "INTERNAL_SERVER_ERROR")
        body: dict[str, Any] = {"message": self.message, "code": code, "data": self._data(code, path)}
        if self.issues is not None:
            body["issues"] = self.issues
        return body

    def rpc_body(self, path: str | None) -> dict[str, Any]:
        """Tell it in the shape of the native tRPC form."""
        code = CODES.get(self.status, "INTERNAL_SERVER_ERROR")
        number = RPC_NUMBERS.get(self.status, -32603)
        return {"error": {"json": {"message": self.message, "code": number, "data": self._data(code, path)}}}

    def _data(self, code: str, path: str | None) -> dict[str, Any]:
        data: dict[str, Any] = {"code": code, "httpStatus": self.status}
        if path is not None:
            data["path"] = path
        data["zodError"] = None
        if self.issues is not None:
            fields: dict[str, list[str]] = {}
            for issue in self.issues:
                fields.setdefault(str(issue["path"][0]), []).append(issue["message"])
            data["zodError"] = {"formErrors": [], "fieldErrors": fields}
        return data


def not_found(thing: str) -> CallError:
    """Refuse an identifier that nothing bears."""
    return CallError(404, f"{thing} not found")
