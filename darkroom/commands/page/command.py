"""A page on which a person tries the exported model: drop a picture, see what it is taken for and what speaks for it.

    python -m darkroom page    # then open http://127.0.0.1:8000; Ctrl-C ends it

Only this machine is served, and no picture is kept.

Reads   exports, and for the heat map models and reports/export.json
"""

import json
import logging
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.commands.page.explain import look
from darkroom.core.errors import UserError
from darkroom.core.model_spec import SPEC, model_sha256
from darkroom.core.paths import EXPORT_REPORT, EXPORTS, MODELS
from darkroom.inference import formats
from darkroom.inference.predictor import located

if TYPE_CHECKING:
    from flask import Flask, Response

    from darkroom.evaluate.grad_cam import Explainer

HTML = Path(__file__).parent / "common/exports/page.html"
HOST = "127.0.0.1"
MEGABYTES = 20  # of a picture's file
# The browser is to ask nobody else for anything.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "frame-ancestors 'none'"
)


def main(model: Path, port: int) -> None:
    """Load the model and serve the page until Ctrl-C."""
    from werkzeug.serving import make_server

    try:
        listening = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        said = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise UserError(f"port {port} cannot be had ({said}): name another with --port, or 0 for any.") from None
    path = located(model)
    print(f"page: loading {path}", flush=True)
    exported = formats.load(path)
    explainer, note = explained(path)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
    app = create(exported, explainer, note, str(path))
    server = make_server(HOST, port, app, threaded=True, fd=listening.fileno())
    print(f"page: http://{HOST}:{server.port} (Ctrl-C ends it)", flush=True)
    server.serve_forever()


def explained(path: Path) -> "tuple[Explainer | None, str]":
    """What makes heat maps for the export at `path`, or none and why: it takes the model that was exported."""
    from darkroom.core import runtime
    from darkroom.models import classifier

    if path.resolve().parent != EXPORTS.resolve():
        return None, f"No heat map: it takes the model in {MODELS}, and this one is not from {EXPORTS}."
    if not (MODELS / SPEC).exists() or not EXPORT_REPORT.exists():
        return None, f"No heat map: it takes {MODELS} and {EXPORT_REPORT}, which are not here (dvc pull brings them)."
    if model_sha256(MODELS) != json.loads(EXPORT_REPORT.read_text(encoding="utf-8"))["model_sha256"]:
        return None, f"No heat map: the model in {MODELS} is not the one that was exported (dvc repro exports it)."
    runtime.prepare(0)
    from darkroom.evaluate.grad_cam import Explainer

    try:
        return Explainer(classifier.Classifier.load(MODELS)), ""
    except UserError as error:
        return None, f"No heat map: {error}"


def create(exported: formats.Exported, explainer: "Explainer | None", note: str, name: str) -> "Flask":
    """The application: the page, and `POST /classify` with the bytes of a picture file, which answers in JSON.

    Args:
        exported: what predicts.
        explainer: what makes heat maps, or None.
        note: why there is none.
        name: of the model, for people.
    """
    from flask import Flask, abort, render_template_string, request
    from werkzeug.exceptions import HTTPException

    app = Flask("darkroom", static_folder=None)
    # Requests that reach this machine by another name are somebody else's page asking.
    app.config.update(MAX_CONTENT_LENGTH=MEGABYTES * 10**6, TRUSTED_HOSTS=[HOST, "localhost"])
    one_at_a_time = threading.Lock()

    @app.before_request
    def only_from_here() -> None:
        """Other pages that the browser shows may lead here, but not ask."""
        link = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        elsewhere = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and not link
        if elsewhere or request.headers.get("Origin", request.host_url[:-1]) != request.host_url[:-1]:
            abort(403, "Another page asked.")

    @app.get("/")
    def page() -> str:
        html = HTML.read_text(encoding="utf-8")
        return render_template_string(html, name=name, classes=exported.classes, megabytes=MEGABYTES)

    @app.post("/classify")
    def classify() -> dict[str, Any]:
        data, number = request.get_data(), request.args.get("class", type=int)
        if number not in (None, *range(len(exported.classes))):
            abort(400, "There is no such class.")
        with one_at_a_time:
            return {**look(data, exported, explainer, number), "note": note}

    @app.errorhandler(UserError)
    def unreadable(error: UserError) -> tuple[dict[str, str], int]:
        return {"error": f"This file cannot be used: {error}."}, 422

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[dict[str, str], int]:
        too_large = f"This file is larger than {MEGABYTES} MB."
        return {"error": too_large if error.code == 413 else str(error.description)}, error.code or 500

    @app.after_request
    def closed(response: "Response") -> "Response":
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


ARGUMENTS: dict[str, dict[str, Any]] = {
    "--model": {"type": Path, "default": EXPORTS, "help": "an export, or a folder of them (default: %(default)s)"},
    "--port": {"type": int, "default": 8000, "help": "default: %(default)s"},
}
