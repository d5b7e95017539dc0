"""The page to try a model: what it answers, what it refuses, and what a browser shows."""

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from darkroom.commands.page import command as page
from darkroom.commands.page import explain
from darkroom.core.errors import UserError
from darkroom.core.model_spec import model_sha256
from darkroom.images.decode import decode
from darkroom.inference import formats
from tests.helpers.accessibility import violations
from tests.helpers.odd_files import PHOTOS, file, photo, turned_heic
from tests.helpers.pictures import CLASSES
from tests.helpers.project import ROOT, interruptible
from tests.helpers.training import untrained


@pytest.fixture(scope="module")
def built(small_model, tmp_path_factory):
    """A project in which a small model is trained and exported."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("reports", "exports"):
        (folder / name).mkdir()
    shutil.copytree(small_model / "models", folder / "models")
    shutil.copy(small_model / "exports/model.onnx", folder / "exports")
    (folder / "reports/export.json").write_text(json.dumps({"model_sha256": model_sha256(folder / "models")}))
    return folder


@pytest.fixture(scope="module")
def client(built):
    from darkroom.evaluate.grad_cam import Explainer
    from darkroom.models.classifier import Classifier

    exported = formats.load(built / "exports/model.onnx")
    explainer = Explainer(Classifier.load(built / "models"))
    return page.create(exported, explainer, "", "exports/model.onnx").test_client()


@pytest.fixture
def sandal(fashion):
    return sorted((fashion / "test/Sandal").iterdir())[0]


def picture(url):
    start, data = url.split(",")
    assert start == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_a_picture_gets_its_classes_and_a_heat_map(built, client, sandal):
    answer = client.post("/classify", data=sandal.read_bytes())
    assert answer.status_code == 200
    content = answer.json
    expected = formats.load(built / "exports/model.onnx").probabilities(decode(sandal)[None])[0]
    assert content["top"][0]["label"] == "Sandal"
    assert [entry["number"] for entry in content["top"]] == list(np.argsort(-expected))
    for entry in content["top"]:
        assert CLASSES[entry["number"]] == entry["label"]
        assert entry["probability"] == pytest.approx(expected[entry["number"]], abs=1e-6)
    shown, overlay = picture(content["picture"]), picture(content["overlay"])
    assert shown.shape == overlay.shape == (336, 336, 3)  # 28 pixels, twelve times as large
    assert np.abs(shown[6::12, 6::12].astype(int) - decode(sandal)).mean() < 3
    assert np.abs(overlay.astype(int) - shown).mean() > 10
    assert content["note"] == ""
    other = client.post("/classify?class=0", data=sandal.read_bytes()).json
    assert other["top"] == content["top"]
    assert other["overlay"] != content["overlay"]


def test_large_pictures_are_shown_small(client, sandal):
    image = Image.open(sandal).convert("RGB").resize((3000, 1500))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    content = client.post("/classify", data=stream.getvalue()).json
    assert picture(content["picture"]).shape == picture(content["overlay"]).shape == (320, 640, 3)


@pytest.mark.parametrize("make", [turned_heic, file("JPEG2000"), file("TIFF"), file("AVIF")])
def test_what_browsers_cannot_show_is_shown(client, make):
    data = make(photo(0))
    content = client.post("/classify", data=data).json
    pixels = decode(data)
    times = 320 // 64
    assert np.abs(picture(content["picture"])[2::times, 2::times].astype(int) - pixels).mean() < 3
    assert picture(content["overlay"]).shape == (pixels.shape[0] * times, pixels.shape[1] * times, 3)


def test_heat_is_where_the_picture_is():
    """Enlarging keeps every place where it was, in a picture that is not square."""
    heat = np.zeros((4, 6), np.float32)
    heat[1, 4] = 1
    large = explain.enlarged(heat, (400, 600, 3))
    assert large.shape == (400, 600)
    assert np.unravel_index(large.argmax(), large.shape) == pytest.approx((150, 450), abs=5)
    assert 0 <= large.min() <= large.max() <= 1


@pytest.mark.parametrize(
    ("query", "data", "status", "message"),
    [
        ("", b"no picture", 422, "This file cannot be used: not a picture of a known format."),
        ("", b"", 422, "This file cannot be used: not a picture of a known format."),
        ("", bytes(20_000_001), 413, "This file is larger than 20 MB."),
        ("?class=3", b"", 400, "There is no such class."),
        ("?class=-1", b"", 400, "There is no such class."),
    ],
)
def test_refusals_have_a_message(client, query, data, status, message):
    answer = client.post(f"/classify{query}", data=data)
    assert (answer.status_code, answer.json) == (status, {"error": message})


def test_too_many_pixels(client):
    stream = io.BytesIO()
    Image.new("1", (10_000, 5_001)).save(stream, "PNG")
    answer = client.post("/classify", data=stream.getvalue())
    assert answer.status_code == 422
    assert answer.json["error"].startswith("This file cannot be used: 10,000 x 5,001 pixels are more than")


def test_other_hosts_are_neither_contacted_nor_answered(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert not re.search(r"https?://|src=.//", answer.text)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert client.get("/", headers={"Host": "pictures.example"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:9000"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 422),  # no browser
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 422),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),  # another port of this machine
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),  # a form
        ({"Origin": "http://localhost:5000"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_requests_of_other_sites_are_refused(client, headers, status):
    answer = client.post("/classify", data=b"no picture", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json == {"error": "Requests from other sites are refused."}


def test_other_sites_may_link_to_the_page_but_not_embed_it(client):
    other = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/", headers=other).status_code == 403
    answer = client.get("/", headers={**other, "Sec-Fetch-Mode": "navigate"})
    assert answer.status_code == 200
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_a_failure_of_the_model_has_a_message(sandal):
    def probabilities(pixels):
        raise MemoryError("no room")

    client = page.create(formats.Exported(["a"], probabilities), None, "", "x").test_client()
    answer = client.post("/classify", data=sandal.read_bytes())
    message = "This file cannot be used: the model cannot process it (no room)."
    assert (answer.status_code, answer.json) == (422, {"error": message})
    stream = io.BytesIO()
    Image.new("1", (65_536, 1)).save(stream, "PNG")
    answer = client.post("/classify", data=stream.getvalue())
    assert "65,536 x 1 pixels: the longer side may have 65,535" in answer.json["error"]


def test_class_names_are_escaped(built):
    exported = formats.Exported(["<b>", "a & b"], lambda pixels: np.full((len(pixels), 2), 0.5, np.float32))
    text = page.create(exported, None, "", "x").test_client().get("/").text
    assert "2 classes (&lt;b&gt;, a &amp; b)" in text


@pytest.fixture
def copied(built, tmp_path, monkeypatch):
    shutil.copytree(built, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_the_heat_map_is_that_of_the_exported_model(copied):
    export = copied / "exports/model.onnx"
    explainer, note = page.find_explainer(export)
    assert (type(explainer).__name__, note) == ("Explainer", "")

    shutil.copytree(copied / "exports", copied / "other")
    explainer, note = page.find_explainer(copied / "other/model.onnx")
    assert explainer is None
    assert note == "No heat map: it needs the model in models, and this export is not in exports."

    spec_file = copied / "models/model.json"
    spec = json.loads(spec_file.read_text())
    spec_file.write_text(json.dumps({**spec, "temperature": 2.0}))
    explainer, note = page.find_explainer(export)
    assert explainer is None
    assert note == "No heat map: the model in models is not the one that was exported (run dvc repro)."

    shutil.rmtree(copied / "models")
    explainer, note = page.find_explainer(export)
    assert explainer is None
    assert "which are missing (run dvc pull)" in note


def test_a_model_without_feature_maps_has_no_heat_map(copied, sandal):
    """Its classes are shown all the same, with the reason."""
    shutil.rmtree(copied / "models")
    untrained("dense").save(copied / "models")
    (copied / "reports/export.json").write_text(json.dumps({"model_sha256": model_sha256(copied / "models")}))
    explainer, note = page.find_explainer(copied / "exports/model.onnx")
    assert explainer is None
    assert note.startswith("No heat map: Grad-CAM")
    client = page.create(formats.load(copied / "exports/model.onnx"), None, note, "x").test_client()
    content = client.post("/classify", data=sandal.read_bytes()).json
    assert (content["overlay"], content["note"]) == (None, note)
    assert content["top"][0]["label"] == "Sandal"


def test_a_port_that_is_taken_is_named(copied):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sentence = f"port {port} cannot be used .Address already in use.: choose another one with --port, or 0 for any"
        with pytest.raises(UserError, match=sentence):
            page.main(copied / "exports", False, port)


@contextmanager
def served(folder):
    """The address of the real process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    program = [sys.executable, "-m", "darkroom", "page", "--port", "0"]
    process = subprocess.Popen(
        program, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    )
    try:
        assert process.stdout.readline() == "page: loading exports/model.onnx\n"
        yield re.match(r"page: (http://127\.0\.0\.1:\d+) ", process.stdout.readline()).group(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# A page cannot read files from the disk, so it is given one that is made from its bytes.
HAND_OVER = """([kind, name, base64]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(base64), character => character.charCodeAt(0))], name));
  const options = {bubbles: true, cancelable: true};
  const event = kind === "drop" ? new DragEvent(kind, {...options, dataTransfer: files})
                                : new ClipboardEvent(kind, {...options, clipboardData: files});
  document.querySelector(".drop").dispatchEvent(event);
}"""


def drop(tab, path):
    """Drop a file or folder from the disk, as a person does."""
    browser = tab.context.new_cdp_session(tab)
    dragged = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "x": 100, "y": 150, "data": dragged})


@pytest.mark.full
def test_a_browser_shows_what_it_cannot_read_itself(copied, tmp_path, window):
    """A picture of a telephone, a scan; there is no heat map, and nothing is drawn in its place."""
    from playwright.sync_api import expect

    shutil.rmtree(copied / "models")
    (tmp_path / "IMG_1.HEIC").write_bytes(turned_heic(PHOTOS[0]))
    for name, kind in (("scan.jp2", "JPEG2000"), ("scan.tif", "TIFF")):
        (tmp_path / name).write_bytes(file(kind)(PHOTOS[1]))
    with served(copied) as address:
        tab, problems, _ = window(1200)
        tab.goto(address)
        accepted = tab.locator("#file").get_attribute("accept").split(",")
        assert {"image/*", ".heic", ".jp2", ".tif"} <= set(accepted)
        for name, size in (("IMG_1.HEIC", [427, 640]), ("scan.jp2", [640, 427]), ("scan.tif", [640, 427])):
            with tab.expect_response("**/classify"):
                tab.set_input_files("#file", tmp_path / name)
            expect(tab.locator("body")).not_to_have_class("busy")
            expect(tab.locator("#picture")).to_be_visible()
            tab.locator("#picture").evaluate("image => image.decode()")
            assert tab.locator("#picture").evaluate("image => [image.naturalWidth, image.naturalHeight]") == size
            expect(tab.locator("#overlay")).to_be_hidden()
        assert problems == []


@pytest.mark.full
def test_a_browser_shows_it(copied, fashion, tmp_path, window):
    """Chosen by keyboard, dropped and pasted; a file that is no picture; on a screen and on a telephone."""
    from playwright.sync_api import expect

    def real(label):
        return sorted((fashion / "test" / label).iterdir())[0]

    def result(label):
        expect(tab.locator("#label")).to_have_text(label)
        expect(tab.locator("#bars button[aria-pressed=true]")).to_contain_text(label)
        expect(tab.locator("#bars li")).to_have_count(3)
        fills = tab.locator("#bars i").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
        whole = tab.locator("#bars button").first.bounding_box()["width"]
        shares = [width / whole for width in fills]
        assert sum(shares) == pytest.approx(1, abs=0.05)
        assert shares == sorted(shares, reverse=True)
        for name in ("picture", "overlay"):
            expect(tab.locator(f"#{name}")).to_be_visible()
            assert tab.locator(f"#{name}").evaluate("image => image.naturalWidth") == 336
        assert tab.locator("#picture").bounding_box() == tab.locator("#overlay").bounding_box()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

    with served(copied) as address:
        for width in (1200, 390):
            tab, problems, asked = window(width)
            tab.on("filechooser", lambda chooser: chooser.set_files(real("Sandal")))
            tab.goto(address)
            tab.keyboard.press("Tab")
            tab.keyboard.press("Enter")
            result("Sandal")
            for kind, label in (("drop", "Bag"), ("paste", "Coat")):
                data = base64.b64encode(real(label).read_bytes()).decode()
                tab.evaluate(HAND_OVER, [kind, f"{label}.png", data])
                result(label)
            before = tab.locator("#overlay").get_attribute("src")
            tab.locator("#bars button", has_text="Bag").press("Enter")
            expect(tab.locator("#bars button[aria-pressed=true]")).to_contain_text("Bag")
            expect(tab.locator("#bars button", has_text="Bag")).to_be_focused()
            assert tab.locator("#overlay").get_attribute("src") != before
            tab.locator("#strength").press("Home")
            assert tab.locator("#overlay").evaluate("image => getComputedStyle(image).opacity") == "0"
            assert problems == []
            assert {url.partition("?")[0] for url in asked if not url.startswith("data:")} == {
                f"{address}/",
                f"{address}/classify",
            }

            tab.set_input_files("#file", ROOT / "README.md")
            expect(tab.locator("#error")).to_have_text("This file cannot be used: not a picture of a known format.")
            expect(tab.locator("#result")).to_be_hidden()
            (tmp_path / "large.png").write_bytes(bytes(20_000_001))
            tab.set_input_files("#file", tmp_path / "large.png")
            expect(tab.locator("#error")).to_have_text("large.png is larger than 20 MB.")
            tab.set_input_files("#file", real("Bag"))
            result("Bag")
            expect(tab.locator("#error")).to_be_hidden()
            tab.route("**/classify", lambda route: None)  # a response that never comes
            tab.set_input_files("#file", real("Bag"))
            expect(tab.locator("body")).to_have_class("busy")
            tab.set_input_files("#file", tmp_path / "large.png")
            expect(tab.locator("#error")).to_have_text("large.png is larger than 20 MB.")
            expect(tab.locator("body")).not_to_have_class("busy")
            drop(tab, tmp_path)
            expect(tab.locator("#error")).to_have_text("This is a folder: drop a single picture.")
    files = {path.relative_to(copied).parts[0] for path in copied.rglob("*")}
    assert files == {"models", "exports", "reports"}  # nothing was kept


@pytest.mark.full
def test_the_page_is_accessible(copied, window):
    with served(copied) as address:
        assert violations(window, address) == []
