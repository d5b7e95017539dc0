"""The map of the pictures: positions, similar pictures, and what a person can do with it in a browser."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from darkroom.core import paths
from darkroom.evaluate import picture_map
from darkroom.evaluate.embedding import scaled
from tests.helpers.evaluation import EVALUATIONS, class_names, evaluated


def groups(count, seed=0):
    """Three groups of rows of length 1."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(3, 8))
    return scaled(centres[np.arange(count) % 3] + 0.1 * generator.normal(size=(count, 8)))


@pytest.mark.parametrize("landmarks", [1000, 60])
def test_what_is_alike_is_near_wherever_it_was_computed(landmarks, monkeypatch):
    monkeypatch.setattr(picture_map, "LANDMARKS", landmarks)
    features = groups(150)
    places = picture_map.positions(features, 7)
    assert places.shape == (150, 2)
    assert (places.min(), places.max()) == (0, picture_map.GRID)
    assert (places == picture_map.positions(features, 7)).all()
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    same = np.arange(150)[:, None] % 3 == np.arange(150) % 3
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :5]
    assert np.take_along_axis(same, nearest, axis=1).mean() > 0.99


@pytest.mark.parametrize("features", [np.ones((6, 4), np.float32), np.ones((5, 1), np.float32)])
def test_pictures_that_are_all_the_same_have_a_place(features):
    places = picture_map.positions(scaled(features), 0)
    assert ((places >= 0) & (places <= picture_map.GRID)).all()


def test_similar_pictures_are_the_nearest_by_angle(monkeypatch):
    monkeypatch.setattr(picture_map, "CHUNK", 7)
    features = groups(40)
    alike = features @ features.T
    np.fill_diagonal(alike, -np.inf)
    assert (picture_map.similar(features) == np.argsort(-alike, axis=1)[:, : picture_map.SIMILAR]).all()
    assert picture_map.similar(features[:3]).shape == (3, 2)


def test_test_pictures_come_first():
    parts = ["train"] * 50 + ["val"] * 10 + ["test"] * 20
    chosen = picture_map.choose(parts, 30, 1)
    assert len(chosen) == 30
    assert set(range(60, 80)) <= set(chosen.tolist())
    assert (np.diff(chosen) > 0).all()
    assert picture_map.choose(parts, 100, 1).tolist() == list(range(80))
    assert set(picture_map.choose(parts, 10, 1).tolist()) <= set(range(60, 80))


def test_thumbnails_are_in_the_order_of_the_pictures(tmp_path):
    files = []
    for number in range(5):
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", (90, 60), (50 * number, 0, 0)).save(files[-1])
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture_map.thumbnails(files, 30, 2)))))
    assert sheet.shape == (90, 60, 3)
    reds = [sheet[15 + 30 * (place // 2), 15 + 30 * (place % 2), 0] for place in range(5)]
    assert np.allclose(reds, 50 * np.arange(5), atol=4)


def content(source):
    return json.loads(re.search(r'id="map-data">(.*?)</script>', source)[1])


def test_the_report_has_what_is_known_of_each_picture(workspace, pictures):
    _, _, source = evaluated(pictures, *EVALUATIONS["usual"], mapped=True)
    data = content(source)
    assert len(data["x"]) == len(data["similar"]) == data["total"] == 180
    assert data["classes"][1] == class_names(2)[1]
    assert data["part"] == [0] * 60 + [1] * 60 + [2] * 60
    assert data["label"][-60:] == (np.arange(60) % 5).tolist()
    assert "<b>coat" not in source.split("map-data")[2]
    _, _, few = evaluated(pictures, *EVALUATIONS["usual"], mapped=True, map=70)
    assert content(few)["part"].count(2) == 60
    assert "70\nof 180 pictures are on it" in few
    for without in (
        evaluated(pictures, *EVALUATIONS["usual"]),
        evaluated(pictures, *EVALUATIONS["usual"], mapped=True, map=0),
    ):
        assert "<script" not in without[2]
        assert "script-src" not in without[2]


def test_a_person_finds_pictures_on_it(workspace, pictures, window):
    evaluated(pictures, *EVALUATIONS["usual"], mapped=True)
    page, problems, _ = window(1280)
    page.goto(paths.REPORT.resolve().as_uri())
    details, canvas = page.locator("#map-details"), page.locator("#map-canvas")
    assert details.inner_text() == "No picture is selected."
    canvas.focus()
    page.keyboard.press("ArrowRight")
    first = details.locator("p").first.inner_text()
    assert re.match(r"\d+\.png \((train|val|test)\): .*; predicted .*, [\d.]+ %", first)
    page.keyboard.press("ArrowLeft")
    assert details.locator("p").first.inner_text() != first
    similar = details.locator("button").first
    name = similar.get_attribute("aria-label")
    similar.click()
    assert details.locator("p").first.inner_text() == name
    page.locator("#map-shown").select_option("wrong")
    data = content(paths.REPORT.read_text())
    row = next(row for row in range(180) if data["label"][row] != data["predicted"][row])
    place = page.evaluate(f"select({row}, true), place({row}).map(each => each / (canvas.width / canvas.clientWidth))")
    canvas.click(position={"x": place[0], "y": place[1]})
    assert data["name"][row] in details.locator("p").first.inner_text()
    assert data["classes"][data["predicted"][row]] in details.locator("p").first.inner_text()
    page.locator("#map-colour").select_option("right")
    assert page.locator("#map-legend span").all_inner_texts() == ["right", "wrong"]
    page.locator("#map-in").click()
    page.keyboard.press("0")
    assert problems == []
