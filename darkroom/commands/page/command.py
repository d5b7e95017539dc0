"""Try the exported model in the browser.

    python -m darkroom page    # then open http://127.0.0.1:8000; Ctrl-C stops it

Drop a picture on the page to see its most probable classes and, as a heat map, the regions that led to them. Only this
machine is served, and no picture is stored.

Reads   exports; for heat maps also models and reports/export.json
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.commands import web
from darkroom.commands.page.explain import explain
from darkroom.core.errors import UserError
from darkroom.core.files import read_json
from darkroom.core.model_spec import SPEC, model_sha256
from darkroom.core.paths import EXPORT_REPORT, EXPORTS, MODELS
from darkroom.images.formats import SUFFIXES
from darkroom.inference import formats

if TYPE_CHECKING:
    from flask import Flask

    from darkroom.evaluate.grad_cam import Explainer

HTML = Path(__file__).with_name("page.html")
MEGABYTES = 20  # the largest picture file


def main(model: Path, trust: bool, port: int) -> None:
    """Load the model and serve the page until Ctrl-C."""
    listener = web.listen(port)
    path = formats.locate(model)
    print(f"page: loading {path}", flush=True)
    exported = formats.load(path, trust)
    explainer, note = find_explainer(path)
    web.serve(create(exported, explainer, note, str(path)), listener, "page")


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
    from flask import abort, render_template_string, request

    app = web.application(MEGABYTES)
    lock = threading.Lock()  # one picture at a time, since memory is limited

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

    return app


ARGUMENTS: dict[str, dict[str, Any]] = {
    "--model": {"type": Path, "default": EXPORTS, "help": "an export, or a folder of exports (default: %(default)s)"},
    "--trust": formats.TRUST,
    "--port": {"type": int, "default": 8000, "help": "default: %(default)s"},
}
