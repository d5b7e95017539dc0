"""The report as a person gets it: one file, opened in a browser."""

import json
import re
from html.parser import HTMLParser

import pytest

from darkroom.core import paths
from tests.helpers.accessibility import violations
from tests.helpers.evaluation import EVALUATIONS, class_names, evaluated

KINDS = ("usual", "no mistake", "one picture", "many classes")


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_the_report_is_one_file(project):
    source = (project / "reports/report.html").read_text()
    page, plots = Page(source), sorted((project / "reports/plots").iterdir())
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == len(plots) + 1 >= 11  # and the thumbnails of the map
    assert all(re.fullmatch("data:image/(png|jpeg);base64,[A-Za-z0-9+/=]{1000,}", each["src"]) for each in pictures)
    assert all(len(picture["alt"]) > 10 for picture in pictures if picture.get("id") != "map-sheet")
    assert all(attributes["href"].startswith("#") for tag, attributes in page.tags if tag == "a")
    assert not {"link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [
        {"type": "application/json", "id": "map-data"},
        {},
    ]
    assert not re.search(r"url\(|@import", source)
    policy = [attributes["content"] for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes]
    allowed = r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]{44}'"
    assert len(policy) == 1
    assert re.fullmatch(allowed, policy[0])
    metrics = json.loads((project / "reports/metrics.json").read_text())
    for key in ("accuracy", "top_3_accuracy", "roc_auc_low", "ece_high", "uncalibrated_ece", "log_loss_train"):
        assert f"{metrics[key]:.4f}" in page.text
    assert "Ankle_boot" in page.text


def test_every_link_leads_somewhere_and_names_are_text(workspace, pictures):
    classes, labels, strength = EVALUATIONS["usual"]
    _, metrics, source = evaluated(pictures, classes, labels, strength)
    page = Page(source)
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links
    assert {link[1:] for link in links} <= places
    assert all(name in page.text for name in class_names(classes))
    assert all(tag != "b" or not attributes for tag, attributes in page.tags)
    assert page.text.count("<b>coat</b>") == 2  # in the table and in the list of classes
    assert f"{metrics['uncalibrated_ece']:.4f}" in page.text
    assert metrics["uncalibrated_log_loss"] != metrics["log_loss"]
    assert "Not available: Grad-CAM needs a gradient, and a head of type knn has none" in page.text


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_a_browser_shows_it_whole(kind, workspace, pictures, window):
    evaluated(pictures, *EVALUATIONS[kind], mapped=True)
    address = paths.REPORT.resolve().as_uri()
    for width in (390, 1280):
        page, problems, asked = window(width)
        page.goto(address, wait_until="networkidle")
        assert (asked, problems) == ([address], [])
        sizes = page.evaluate("[...document.querySelectorAll('.wide img')].map(image => image.naturalWidth)")
        assert len(sizes) == len(list(paths.PLOTS.iterdir()))
        assert min(sizes) > 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.full
def test_it_is_accessible(workspace, pictures, window):
    evaluated(pictures, *EVALUATIONS["usual"], mapped=True)
    assert violations(window, paths.REPORT.resolve().as_uri()) == []
