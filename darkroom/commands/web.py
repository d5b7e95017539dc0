"""What pages for the browser have in common: they serve this machine only, and answer no other site's requests."""

import logging
import os
import socket
from typing import TYPE_CHECKING

from darkroom.core.errors import UserError

if TYPE_CHECKING:
    from flask import Flask, Response

HOST = "127.0.0.1"
# The browser may load nothing from other servers.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)


def listen(port: int) -> socket.socket:
    """Take a port, before anything slow: requests wait until `serve`.

    Raises:
        UserError: another program has it.
    """
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise UserError(
            f"port {port} cannot be used ({reason}): choose another one with --port, or 0 for any free port."
        ) from None


def application(megabytes: int) -> "Flask":
    """An application without routes; errors are answered as JSON with `error`.

    Args:
        megabytes: of the largest request.
    """
    from flask import Flask, abort, request
    from werkzeug.exceptions import HTTPException

    app = Flask("darkroom", static_folder=None)
    # A request that uses another name for this machine comes from a foreign page (DNS rebinding).
    app.config.update(MAX_CONTENT_LENGTH=megabytes * 10**6, TRUSTED_HOSTS=[HOST, "localhost"])

    @app.before_request
    def refuse_other_sites() -> None:
        """Other sites in the browser may link to the page, but not send requests."""
        is_link = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        is_foreign = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and not is_link
        if is_foreign or request.headers.get("Origin", request.host_url[:-1]) != request.host_url[:-1]:
            abort(403, "Requests from other sites are refused.")

    @app.errorhandler(UserError)
    def unusable(error: UserError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 422

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[dict[str, str], int]:
        too_large = f"This file is larger than {megabytes} MB."
        return {"error": too_large if error.code == 413 else str(error.description)}, error.code or 500

    @app.after_request
    def add_headers(response: "Response") -> "Response":
        response.headers["Content-Security-Policy"] = POLICY
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return app


def serve(app: "Flask", listener: socket.socket, name: str) -> None:
    """Serve until Ctrl-C, and print where."""
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no log line for each request
    server = make_server(HOST, listener.getsockname()[1], app, threaded=True, fd=listener.fileno())
    print(f"{name}: http://{HOST}:{server.port} (Ctrl-C stops it)", flush=True)
    server.serve_forever()
