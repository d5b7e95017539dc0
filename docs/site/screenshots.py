"""Take the documentation's pictures in a browser, from real runs.

    python -m docs.site.screenshots results PROJECT   # the report and the review page
    python -m docs.site.screenshots runs PROJECT      # MLflow

PROJECT is a clone in which a recipe has run: `flowers_vgg16_features` for `results`, `animals_vgg16_features` for
`runs`, which runs more experiments there. Debian's package chromium must be installed.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import expect, sync_playwright

from tests.helpers.servers import answers, free_port, page_of_mlflow, wait

DOCS = Path(__file__).resolve().parents[1]
SIZE: Any = {"width": 1280, "height": 900}
LARGE: Any = {"width": 1440, "height": 840}
WIDE: Any = {"width": 1700, "height": 640}
QUALITY = 80  # of JPEG
PATIENCE = 60_000  # milliseconds for MLflow's page, which is large
SCROLLS = 60  # to its last chart, at most
# What is compared in the pictures of MLflow, besides the recipe.
EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "dense": ("train.head.type=dense",),
    "dropout_02": ("train.head.type=dense", "train.head.dropout=0.2"),
    "high_rate": ("train.head.type=dense", "train.learning_rate=0.001"),
} | {f"fold_{number}": ("split.method=kfold", "split.folds=3", f"split.fold={number}") for number in (1, 2, 3)}


@contextmanager
def page_of_review(project: Path) -> Iterator[str]:
    """The address of the review page, as long as the block lasts."""
    port, log = free_port(), project / "review.log"
    command = [sys.executable, "-m", "darkroom", "review", "--port", port, "--author", "Ada"]
    with log.open("w") as stream, subprocess.Popen(command, cwd=project, stdout=stream, stderr=stream) as process:
        try:
            wait(process, log, lambda: answers(port, "/"))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
    log.unlink()


def save(page: Any, name: str) -> None:
    """Write what is visible."""
    page.screenshot(path=DOCS / name, type="jpeg", quality=QUALITY)


def results(page: Any, project: Path) -> None:
    """The beginning of the report, its map with a mistake selected, and the first picture of the review page."""
    page.goto((project / "reports/report.html").resolve().as_uri())
    save(page, "report.jpg")
    page.add_style_tag(content="html { scroll-behavior: auto }")
    page.evaluate("document.getElementById('map').scrollIntoView()")
    page.evaluate("select(data.label.findIndex((_, row) => isWrong(row)), false)")
    save(page, "report_map.jpg")
    with page_of_review(project) as address:
        page.goto(address, wait_until="networkidle")
        save(page, "review_page.jpg")


def runs(page: Any, project: Path) -> None:
    """MLflow's table of runs with folds below their mean, the curves of some runs, and parallel coordinates."""
    params = project / "params.yaml"
    recipe = params.read_bytes()
    for name, settings in EXPERIMENTS.items():
        changes = [word for setting in settings for word in ("-S", setting)]
        subprocess.run(["dvc", "exp", "run", "-n", name, *changes], cwd=project, check=True)
        params.write_bytes(recipe)
    summary = [sys.executable, "-m", "darkroom", "summary"]
    shown = subprocess.run(summary, cwd=project, check=True, capture_output=True, text=True).stdout
    view = shown.strip().rpartition("#")[2]
    expect.set_options(timeout=PATIENCE)
    page.set_default_timeout(PATIENCE)
    with page_of_mlflow(project) as address:
        page.set_viewport_size(WIDE)
        page.goto(f"{address}/#{view}")
        page.locator("[data-component-id='mlflow.assistant.chat_panel.close']").click()
        page.locator(".ag-row button[data-component-id*=runnamecellrenderer]").first.click()
        expect(page.get_by_text("fold_3", exact=True)).to_be_visible()
        save(page, "mlflow_table.jpg")
        page.set_viewport_size(LARGE)
        page.goto("about:blank")
        page.goto(f"{address}/#{view}&compareRunsMode=CHART")
        expect(page.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first).to_be_attached()
        save(page, "mlflow_curves.jpg")
        settings = page.get_by_text("Parallel Coordinates", exact=True)
        page.get_by_text("val_loss", exact=True).hover()
        for _ in range(SCROLLS):
            if settings.count():  # it is added to the page when it comes into view
                break
            page.mouse.wheel(0, 200)
            page.wait_for_timeout(500)
        card = settings.locator("xpath=ancestor::*[.//*[@data-component-id='fullscreen_button_chartcard']][1]")
        card.locator("[data-component-id=fullscreen_button_chartcard]").click()
        expect(page.locator("[role=dialog]").get_by_text("train.head.type")).to_be_visible()
        save(page, "mlflow_parallel.jpg")


def main() -> None:
    """Take those that are asked for."""
    pictures = {"results": results, "runs": runs}
    if len(sys.argv) != 3 or sys.argv[1] not in pictures:
        sys.exit(__doc__)
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        pictures[sys.argv[1]](page, Path(sys.argv[2]))
        browser.close()


if __name__ == "__main__":
    main()
