"""Review labels in the browser, with a keystroke for each picture.

    python -m darkroom review    # then open http://127.0.0.1:8001; Ctrl-C stops it
    dvc repro                    # with the decisions

Pictures are confirmed, relabelled or dropped: those with suspicious labels, near-duplicates with two labels, mistakes,
uncertain ones, outliers, and pictures without a label from which the model would learn most. Each decision is a line in
data/decisions.csv, which git versions and merges; no picture is changed. Only this machine is served.

Reads   reports/split.csv, reports/groups.csv, reports/label_issues.csv, reports/label_quality.csv,
        reports/predictions.csv, the pictures, and, for pictures that look alike, models and data/features; for pictures
        without labels also exports; for what decisions were worth reports/dataset.json and reports/metrics.json
Writes  data/decisions.csv; .cache/review.csv, the accuracy on val after each run
"""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.commands import web
from darkroom.commands.review import pictures, progress
from darkroom.commands.review.desk import Desk
from darkroom.core.paths import DECISIONS, cache
from darkroom.pipeline import params
from darkroom.pipeline.git import git

if TYPE_CHECKING:
    from flask import Flask, Response

HTML = Path(__file__).with_name("review.html")
MEGABYTES = 1  # the largest request
SIDES = {"small": 160, "large": pictures.LARGEST}  # pixels


def main(author: str | None, port: int) -> None:
    """Find what there is to review, and serve the page until Ctrl-C."""
    listener = web.listen(port)
    settings = params.current()
    author = author or git("config", "user.name") or getpass.getuser()
    desk = Desk(DECISIONS, Path(settings.download.unlabelled), author, settings.base.seed)
    desk.lines()  # a damaged ledger is named before anything is decided
    print(f"review: {len(desk.by_path):,} labelled pictures, {len(desk.unlabelled):,} without a label", flush=True)
    hint = progress.hint(progress.record(cache() / "review.csv"))
    if hint:
        print(f"review: {hint}", flush=True)
    web.serve(create(desk, hint), listener, "review")


def create(desk: Desk, hint: str = "") -> "Flask":
    """Create the application: the page, and what it asks for as JSON.

    Args:
        desk: holds the pictures and takes the decisions.
        hint: what earlier decisions were worth.
    """
    from flask import Response, abort, render_template_string, request

    app = web.application(MEGABYTES)

    @app.get("/")
    def page() -> str:
        html = HTML.read_text(encoding="utf-8")
        return render_template_string(html, classes=desk.classes, queues=desk.titles, author=desk.author, hint=hint)

    @app.get("/queue/<name>")
    def queue(name: str) -> dict[str, Any]:
        if name not in desk.titles:
            abort(404, "There is no such queue.")
        return {"items": desk.queue(name)}

    @app.get("/picture/<md5>")
    def surroundings(md5: str) -> dict[str, Any]:
        return desk.surroundings(md5, request.args.get("expected", ""))

    @app.get("/picture/<md5>/<size>.png")
    def file(md5: str, size: str) -> "Response":
        if md5 not in desk.pictures or size not in SIDES:
            abort(404, "There is no such picture.")
        data = pictures.png(desk.pictures[md5].path, SIDES[size])
        return Response(data, mimetype="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @app.post("/decide")
    def decide() -> dict[str, Any]:
        content = request.get_json()
        words = [content.get(key, "") for key in ("decision", "label", "note")] if isinstance(content, dict) else []
        md5s = content.get("md5s") if isinstance(content, dict) else None
        if not isinstance(md5s, list) or not all(isinstance(word, str) for word in (*md5s, *words)):
            abort(400, "A decision is md5s, decision, label and note.")
        desk.decide(md5s, *words)
        return {"decisions": len(desk.lines())}

    @app.post("/undo")
    def undo() -> dict[str, Any]:
        content = request.get_json()
        desk.undo(str(content.get("md5", "")) if isinstance(content, dict) else "")
        return {"decisions": len(desk.lines())}

    return app


ARGUMENTS: dict[str, dict[str, Any]] = {
    "--author": {"help": "whose decisions these are (default: git's user.name)"},
    "--port": {"type": int, "default": 8001, "help": "default: %(default)s"},
}
