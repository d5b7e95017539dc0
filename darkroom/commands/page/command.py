"""Try the exported model in the browser.

    python -m darkroom page    # then open http://127.0.0.1:8000; Ctrl-C stops it

Drop a picture on the page to see its most probable classes and, as a heat map, the regions that led to them. Only this
machine is served, and no picture is stored.

Reads   exports; for heat maps also models and reports/export.json
"""

import logging
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.commands.page.explain import explain
from darkroom.core.errors import UserError
from darkroom.core.files import read_json
from darkroom.core.model_spec import SPEC, model_sha256
from darkroom.core.paths import EXPORT_REPORT, EXPORTS, MODELS
from darkroom.images.formats import SUFFIXES
from darkroom.inference import formats

if TYPE_CHECKING:
    from flask import Flask, Response

    from darkroom.evaluate.grad_cam import Explainer

HTML = Path(__file__).with_name("page.html")
HOST = "127.0.0.1"
MEGABYTES = 20  # the largest picture file
# The browser may load nothing from other servers.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "frame-ancestors 'none'"
)


def main(model: Path, trust: bool, port: int) -> None:
    """Load the model and serve the page until Ctrl-C."""
    from werkzeug.serving import make_server

    try:
        listener = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise UserError(
            f"port {port} cannot be used ({reason}): choose another one with --port, or 0 for any free port."
        ) from None
    path = formats.locate(model)
    print(f"page: loading {path}", flush=True)
    exported = formats.load(path, trust)
    explainer, note = find_explainer(path)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no log line for each request
    app = create(exported, explainer, note, str(path))
    server = make_server(HOST, port, app, threaded=True, fd=listener.fileno())
    print(f"page: http://{HOST}:{server.port} (Ctrl-C stops it)", flush=True)
    server.serve_forever()


def find_explainer(path: Path) -> "tuple[Explainer | None, str]":
    """What makes heat maps for the export at `path`, or None and the reason: it needs the model that was exported."""
    from darkroom.core import runtime
    from darkroom.models import classifier

    if path.resolve().parent != EXPORTS.resolve():
        return None, f"No heat map: it needs the model in {MODELS}, and this export is not in {EXPORTS}."
    if not (MODELS / SPEC).exists() or not EXPORT_REPORT.exists():
        return None, f"No heat map: it needs {MODELS} and {EXPORT_REPORT}, which are missing (run dvc pull)."
    if model_sha256(MODELS) != read_json(EXPORT_REPORT, model_sha256=str)["model_sha256"]:
        return None, f"No heat map: the model in {MODELS} is not the one that was exported (run dvc repro)."
    runtime.prepare(0)
    from darkroom.evaluate.grad_cam import Explainer

    try:
        return Explainer(classifier.Classifier.load(MODELS)), ""
    except UserError as error:
        return None, f"No heat map: {error}"


def create(exported: formats.Exported, explainer: "Explainer | None", note: str, name: str) -> "Flask":
    """Create the application: the page, and `POST /classify`, which takes a picture file's bytes and returns JSON.

    Args:
        exported: the model.
        explainer: makes heat maps, or None.
        note: why there are no heat maps.
        name: the model's name on the page.
    """
    from flask import Flask, abort, render_template_string, request
    from werkzeug.exceptions import HTTPException

    app = Flask("darkroom", static_folder=None)
    # A request that uses another name for this machine comes from a foreign page (DNS rebinding).
    app.config.update(MAX_CONTENT_LENGTH=MEGABYTES * 10**6, TRUSTED_HOSTS=[HOST, "localhost"])
    lock = threading.Lock()  # one picture at a time, since memory is limited

    @app.before_request
    def refuse_other_sites() -> None:
        """Other sites in the browser may link to the page, but not send requests."""
        is_link = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        is_foreign = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and not is_link
        if is_foreign or request.headers.get("Origin", request.host_url[:-1]) != request.host_url[:-1]:
            abort(403, "Requests from other sites are refused.")

    @app.get("/")
    def page() -> str:
        html = HTML.read_text(encoding="utf-8")
        # Browsers do not know all formats as pictures.
        values = {"name": name, "classes": exported.classes, "megabytes": MEGABYTES, "suffixes": sorted(SUFFIXES)}
        return render_template_string(html, **values)

    @app.post("/classify")
    def classify() -> dict[str, Any]:
        data, number = request.get_data(), request.args.get("class", type=int)
        if number not in (None, *range(len(exported.classes))):
            abort(400, "There is no such class.")
        with lock:
            return {**explain(data, exported, explainer, number), "note": note}

    @app.errorhandler(UserError)
    def unreadable(error: UserError) -> tuple[dict[str, str], int]:
        return {"error": f"This file cannot be used: {error}."}, 422

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[dict[str, str], int]:
        too_large = f"This file is larger than {MEGABYTES} MB."
        return {"error": too_large if error.code == 413 else str(error.description)}, error.code or 500

    @app.after_request
    def add_headers(response: "Response") -> "Response":
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


ARGUMENTS: dict[str, dict[str, Any]] = {
    "--model": {"type": Path, "default": EXPORTS, "help": "an export, or a folder of exports (default: %(default)s)"},
    "--trust": formats.TRUST,
    "--port": {"type": int, "default": 8000, "help": "default: %(default)s"},
}
