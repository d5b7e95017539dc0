"""The page on which people review labels: its queues, and what it writes."""

import contextlib
import io
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.commands.review import command as review
from darkroom.commands.review import pictures, progress
from darkroom.commands.review.desk import Desk
from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv, write_json
from darkroom.core.paths import DECISIONS
from darkroom.download import ledger
from darkroom.evaluate.embedding import Embedding, nearest
from tests.helpers.pictures import CLASSES
from tests.helpers.project import copy_project, run
from tests.helpers.review import report


@pytest.fixture
def client(desk):
    return review.create(desk).test_client()


def queue(client, name):
    return client.get(f"/queue/{name}").json["items"]


def decide(client, item, decision="label", label="", note=""):
    answer = client.post("/decide", json={"md5s": [item["md5"]], "decision": decision, "label": label, "note": note})
    assert answer.status_code == 200, answer.json
    return answer.json


def test_suspicious_labels_are_in_the_order_of_the_report(client, names):
    items = queue(client, "suspicious")
    assert [item["path"] for item in items] == [f"data/split/{name}" for name in names[60:62]]
    assert [item["expected"] for item in items] == ["Bag", "Sandal"]
    assert items[0]["reason"] == "A model that has not seen this picture gives its label 1.2 %."
    assert items[0]["decision"] is None
    assert [item["path"] for item in queue(client, "unlikely")] == [f"data/split/{name}" for name in names[40:43]]


def test_near_duplicates_with_two_labels_are_beside_each_other(client):
    first, second = queue(client, "conflicts")
    assert (first["label"], first["expected"]) == (second["expected"], second["label"])
    groups = client.get(f"/picture/{first['md5']}").json["groups"]
    assert [picture["md5"] for picture in groups[0]["pictures"]] == [second["md5"]]


def test_mistakes_begin_with_the_most_confident_and_doubts_with_the_least(client, names):
    predictions = {row["path"]: row for row in read_csv(Path("reports/predictions.csv"))}
    mistakes = [predictions[item["path"]] for item in queue(client, "mistakes")]
    assert mistakes
    assert all(row["label"] != row["predicted"] for row in mistakes)
    assert [float(row["probability"]) for row in mistakes] == sorted(
        (float(row["probability"]) for row in mistakes), reverse=True
    )
    doubts = queue(client, "uncertain")
    shares = [float(re.search(r" with ([0-9.]+) %", item["reason"]).group(1)) for item in doubts]
    assert shares == sorted(shares)
    assert [item["split"] for item in doubts].count("test") == 30
    # The label and the suggested class have 0.3 and 0.25, 0.012 and 0.9.
    assert [item["path"] for item in doubts[:3]] == [f"data/split/{name}" for name in names[40:43]]
    assert doubts[0]["reason"] == f"A model that has not seen this picture says {doubts[0]['label']} with 30.0 %."
    assert [item["expected"] for item in doubts[-2:]] == ["Bag", "Sandal"]


def test_similar_pictures_are_searched_for_by_one_thread_at_a_time(desk, names, monkeypatch):
    """Each picture that is passed on the page is a request; with too many threads at once OpenBLAS crashes."""
    listed = [(picture.split, picture.path.as_posix()) for picture in desk.by_path.values()]
    features = np.random.default_rng(1).random((len(listed), 8), np.float32)
    desk.has_model, desk.embedding = True, Embedding(listed, np.zeros(len(listed)), features)
    running, most = threading.Semaphore(100), []

    def slow(*arguments):
        with running:
            most.append(100 - running._value)
            time.sleep(0.01)
            return nearest(*arguments)

    monkeypatch.setattr("darkroom.commands.review.desk.nearest", slow)
    items = desk.queue("uncertain")
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda item: desk.surroundings(item["md5"], "Bag")["groups"], items))
    assert len(most) > len(items)
    assert max(most) == 1
    assert all(groups[-1]["title"] in ("Nearest Bag", "Near-duplicates") for groups in found)


def test_what_is_decided_is_in_the_ledger_at_once(client):
    first, second = queue(client, "suspicious")
    decide(client, first, label=first["label"], note="a real one")
    decide(client, second, label="a new class")
    lines = ledger.read(DECISIONS)
    assert [(line.md5, line.decision, line.label, line.author, line.note) for line in lines] == [
        (first["md5"], "confirm", first["label"], "Ada", "a real one"),
        (second["md5"], "relabel", "a new class", "Ada", ""),
    ]
    assert [item["decision"]["label"] for item in queue(client, "suspicious")] == [first["label"], "a new class"]


def test_undo_restores_what_held_before(client):
    item = queue(client, "suspicious")[0]
    decide(client, item, label="Bag")
    decide(client, item, "drop")
    client.post("/undo", json={"md5": item["md5"]})
    assert ledger.holding(ledger.read(DECISIONS))[item["md5"]].label == "Bag"
    decide(client, item, "revert")
    client.post("/undo", json={"md5": item["md5"]})
    assert ledger.holding(ledger.read(DECISIONS))[item["md5"]].label == "Bag"
    other = queue(client, "suspicious")[1]
    decide(client, other, "drop")
    client.post("/undo", json={"md5": other["md5"]})
    assert other["md5"] not in ledger.holding(ledger.read(DECISIONS))
    answer = client.post("/undo", json={"md5": queue(client, "mistakes")[0]["md5"]})
    assert (answer.status_code, answer.json) == (422, {"error": "nothing was decided on this picture."})


def test_decisions_of_others_are_seen(client):
    item = queue(client, "suspicious")[0]
    line = ledger.Decision(item["md5"], "relabel", "Bag", "Grace", ledger.now(), "")
    ledger.append(DECISIONS, line)
    assert queue(client, "suspicious")[0]["decision"] == {"decision": "relabel", "label": "Bag", "author": "Grace"}
    assert client.get(f"/picture/{item['md5']}").json["history"] == [line._asdict()]


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ({"md5s": ["0" * 32], "decision": "drop"}, 422, "there is no picture 0000"),
        ({"md5s": [None], "decision": "drop"}, 400, "A decision is md5s"),
        ({"md5s": "x", "decision": "drop"}, 400, "A decision is md5s"),
        (["drop"], 400, "A decision is md5s"),
    ],
)
def test_what_is_no_decision_is_refused(client, content, status, message):
    answer = client.post("/decide", json=content)
    assert answer.status_code == status
    assert message in answer.json["error"]
    assert ledger.read(DECISIONS) == []


@pytest.mark.parametrize("label", ["", "../etc", ".hidden", "a/b", " ", "x" * 300])
def test_a_label_that_cannot_be_a_class_is_refused(client, label):
    item = queue(client, "suspicious")[0]
    answer = client.post("/decide", json={"md5s": [item["md5"]], "decision": "label", "label": label})
    assert answer.status_code == 422
    assert ledger.read(DECISIONS) == []


def test_other_sites_decide_nothing(client):
    item = queue(client, "suspicious")[0]
    body = {"md5s": [item["md5"]], "decision": "drop"}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://localhost:5000"}, {"Origin": "null"}):
        assert client.post("/decide", json=body, headers=headers).status_code == 403
    assert client.post("/decide", data="{}", content_type="text/plain").status_code == 415
    assert client.get("/", headers={"Host": "pictures.example"}).status_code == 400
    assert ledger.read(DECISIONS) == []


def test_pictures_are_shown_by_their_hash_alone(client, names):
    item = queue(client, "suspicious")[0]
    answer = client.get(f"/picture/{item['md5']}/large.png")
    assert Image.open(io.BytesIO(answer.data)).size == (28, 28)
    assert client.get(f"/picture/{item['md5']}/huge.png").status_code == 404
    assert client.get("/picture/..%2F..%2Fparams/large.png").status_code == 404


def test_class_names_are_text(tuning):
    (tuning / "data/split/train/Bag").rename(tuning / "data/split/train/<img src=x onerror=alert(1)>")
    report(tuning)
    text = review.create(Desk(DECISIONS, Path("data/unlabelled"), "</script><b>", 1)).test_client().get("/").text
    assert "<img src=x" not in text
    assert "</script><b>" not in text


def test_pictures_without_labels_are_found_once(tuning, fashion, names):
    folder = tuning / "data/unlabelled"
    folder.mkdir(parents=True)
    known = tuning / "data/split" / names[0]
    new = sorted((fashion / "test/Bag").iterdir())[:3]
    for number, path in enumerate((known, *new, new[0])):
        shutil.copy(path, folder / f"{number}.png")
    (folder / ".DS_Store").write_text("x")
    found = pictures.unlabelled(folder, pictures.labelled())
    assert [picture.path.name for picture in found] == ["1.png", "2.png", "3.png"]


@pytest.mark.full
def test_a_trained_project_knows_what_looks_alike(project, fashion, tmp_path, tensorflow):
    """Neighbours of both classes, outliers, and unlabelled pictures in the order of what they would teach."""
    folder = copy_project(project, tmp_path / "copy")
    new = [path for label in CLASSES for path in sorted((fashion / "test" / label).iterdir())[:40]]
    for number, path in enumerate(new):
        shutil.copy(path, folder / f"data/unlabelled/{number:03d}.png")
    (folder / "data/unlabelled/notes.txt").write_text("no picture")
    with contextlib.chdir(folder):
        desk = Desk(DECISIONS, Path("data/unlabelled"), "Ada", 1)
        assert list(desk.titles) == [
            *("suspicious", "unlikely", "conflicts", "mistakes", "uncertain"),
            *("outliers", "unlabelled"),
        ]
        item = desk.queue("mistakes")[0]
        groups = {
            group["title"]: group["pictures"] for group in desk.surroundings(item["md5"], item["expected"])["groups"]
        }
        for label in (item["label"], item["expected"]):
            neighbours = groups[f"Nearest {label}"]
            assert len(neighbours) == 6
            assert {picture["label"] for picture in neighbours} == {label}
            assert item["md5"] not in [picture["md5"] for picture in neighbours]
        outliers = desk.queue("outliers")
        assert len({entry["md5"] for entry in outliers}) == len(outliers) == 200
        offered = desk.queue("unlabelled")
        assert len(offered) == 50
        assert {entry["split"] for entry in offered} == {"unlabelled"}
        shares = [float(re.search(r"with ([0-9.]+) %", entry["reason"]).group(1)) for entry in offered]
        assert min(shares) < 60 < np.mean(shares[-10:])
        desk.decide([offered[0]["md5"]], "label", "Bag", "")
        assert desk.lines()[-1].decision == "label"
    run("dvc", "repro", "-q", "split", cwd=folder)
    row = next(row for row in read_csv(folder / "reports/split.csv") if row["md5"] == offered[0]["md5"])
    assert (row["class"], row["split"]) == ("Bag", "train")


def test_a_damaged_ledger_is_named_before_anything_is_decided(names):
    DECISIONS.write_text("md5,decision\n")
    with pytest.raises(UserError, match="it has no column label"):
        review.main("Ada", 0)


def test_the_hint_is_about_the_last_fifty_decisions(tmp_path):
    runs = [progress.Run(0, 0.9), progress.Run(20, 0.91), progress.Run(40, 0.93), progress.Run(75, 0.92)]
    assert progress.hint([]) == progress.hint(runs[:1]) == progress.hint([runs[0], progress.Run(0, 0.95)]) == ""
    assert "The last 20 decisions changed the accuracy on validation by +0.0100, to 0.9100" in progress.hint(runs[:2])
    assert "The last 40 decisions changed the accuracy on validation by +0.0300" in progress.hint(runs[:3])
    assert "The last 55 decisions changed the accuracy on validation by +0.0100, to 0.9200" in progress.hint(runs)


def test_each_run_is_recorded_once(workspace):
    path = workspace / ".cache/review.csv"
    assert progress.record(path) == []
    for decisions, accuracy in ((0, 0.9), (0, 0.9), (30, 0.95)):
        counts = {"confirm": decisions, "without_picture": 9}
        write_json(paths.DATASET_REPORT, {"classes": {"a": 1}, "decisions": counts})
        write_json(paths.METRICS, {"accuracy": 0.5, "accuracy_val": accuracy, "model_sha256": "x"})
        runs = progress.record(path)
    assert runs == [(0, 0.9), (30, 0.95)]
