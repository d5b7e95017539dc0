"""One folder of good, odd and bad files, made from real photographs; every file has the outcome that it must have."""

import io
import os
import random
import shutil
import socket
import subprocess
import sys
from itertools import count

import numpy as np
import pytest
from PIL import Image, ImageOps

from darkroom.core.errors import UserError
from darkroom.core.files import write_json
from darkroom.download import sources
from darkroom.download.sources import Found
from darkroom.images.decode import decode, named_wrongly
from stages import download
from tests.helpers.odd_files import (
    COPIES,
    FILES,
    HIDDEN,
    KEPT,
    OUTCOMES,
    SPECIAL,
    TWO_LABELS,
    WRONGLY,
    cut,
    encoded,
    photo,
    place,
    png,
    turned,
)
from tests.helpers.pictures import save
from tests.helpers.project import ROOT


def params(**changes):
    values = {"source": "folder", "name": "x", "path": "x", "limit_per_class": None, "on_bad": "drop"}
    return download.Params(**values | changes)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The folder with all files, and the photograph in each by its name."""
    folder = tmp_path_factory.mktemp("corpus") / "in"
    numbers = count()
    photos = {name: photo(next(numbers)) for name, _, _ in FILES}
    for row in (COPIES, TWO_LABELS):
        same = photo(next(numbers))
        photos |= {name: same for name, _, _ in row}
    for name, make, _ in FILES + COPIES + TWO_LABELS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make(photos[name]))
    for name in HIDDEN:
        save(folder.parent / "x.png", photos["good/plain.png"])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder.parent / "x.png", folder / name)
    save(folder.parent / "elsewhere/x.png", photo(next(numbers)))
    save(folder.parent / "elsewhere/folder/x.png", photo(next(numbers)))
    for name, what, _ in SPECIAL:
        if isinstance(what, str):
            (folder / name).symlink_to(what)
        elif what:
            what(folder / name)
    here = os.open(".", os.O_RDONLY)  # a socket's path may have 108 characters only
    os.chdir(folder / "bad")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.png")
    os.fchdir(here)
    os.close(here)
    return folder, photos


@pytest.fixture(scope="module")
def result(corpus, tmp_path_factory):
    """`(report, folder)` of one run over all of it, with a program `gs` on the PATH that leaves a trace."""
    base = tmp_path_factory.mktemp("result")
    (base / "gs").write_text(f"#!/bin/sh\ntouch {base}/started\n")
    (base / "gs").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{base}{os.pathsep}{os.environ['PATH']}")
        report = download.keep(sources.from_folder(corpus[0]), base / "out", params(), seed=1)
    assert not (base / "started").exists()
    return report, base / "out"


@pytest.fixture
def in_process(monkeypatch):
    """Without processes, which take seconds to start."""
    monkeypatch.setattr(download, "on_all_cores", map)


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_file_is_kept_or_dropped_with_its_reason(name, corpus, result):
    report, out = result
    reasons = [item["reason"] for item in report["dropped"] if item["path"].partition(" (another")[0] == place(name)]
    if OUTCOMES[name] in (KEPT, WRONGLY):
        assert (out / place(name)).read_bytes() == (corpus[0] / name).read_bytes()
        assert (place(name) in report["named_wrongly"]) == (OUTCOMES[name] == WRONGLY)
    else:
        assert len(reasons) == 1
        assert OUTCOMES[name] in reasons[0]
        assert reasons[0].isprintable()


def test_every_file_is_accounted_for(result):
    report, out = result
    kept = {place(name) for name, outcome in OUTCOMES.items() if outcome in (KEPT, WRONGLY)}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == kept
    assert report["kept"] == len(kept) == sum(report["classes"].values())
    assert report["found"] == len(OUTCOMES) == report["kept"] + len(report["dropped"])
    assert report["in_other_classes"] == report["beyond_limit_per_class"] == 0
    assert set(report["classes"]) == {"good", "bad", "copies", "class with a space"}


def grey(pixels):
    return np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[..., None], 3, axis=-1)


def left_white(pixels):
    return np.hstack([np.full_like(pixels[:, :32], 255), pixels[:, 32:]])


def quarter(pixels):
    return np.rot90(pixels, -1)


def same(pixels):
    return pixels


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("plain.png", same, 0),
        ("plain.bmp", same, 0),
        ("plain.tif", same, 0),
        ("plain.tiff", same, 0),
        ("plain.ppm", same, 0),
        ("interlaced.webp", same, 0),
        ("plain.pgm", grey, 0),
        ("plain.jpg", same, 12),
        ("progressive.jpg", same, 12),
        ("telephone.jpg", same, 12),
        ("cmyk.jpg", same, 12),
        ("lab.tif", same, 4),
        ("cut_behind_the_pixels.png", same, 0),
        ("moving.gif", same, 12),
        ("moving.webp", same, 0),
        ("moving.png", same, 0),
        ("pages.tif", same, 0),
        ("palette_see_through.png", left_white, 12),
        ("la.png", lambda pixels: left_white(grey(pixels)), 0),
        ("rgba.png", left_white, 0),
        ("grey16.png", lambda pixels: pixels[..., :1].repeat(3, axis=-1), 0),
        ("grey16.tif", lambda pixels: pixels[..., :1].repeat(3, axis=-1), 0),
        ("colours16.png", same, 0),
        ("turned.jpg", quarter, 12),
        ("turned.png", quarter, 0),
        ("turned.tif", quarter, 0),
        ("turned.webp", quarter, 0),
        ("turned_nowhere.jpg", same, 12),
        ("one_bit.png", lambda pixels: np.asarray(Image.fromarray(pixels).convert("1").convert("RGB")), 0),
        ("one_bit.tif", lambda pixels: np.asarray(Image.fromarray(pixels).convert("1").convert("RGB")), 0),
        ("fax.tif", lambda pixels: np.asarray(Image.fromarray(pixels).convert("1").convert("RGB")), 0),
    ],
)
def test_odd_pictures_have_the_pixels_they_should(name, expected, tolerance, corpus, result):
    wanted = expected(corpus[1][f"good/{name}"])
    pixels = decode(result[1] / "train/good" / name)
    assert (pixels.shape, pixels.dtype) == (wanted.shape, np.uint8)
    assert np.abs(pixels.astype(int) - wanted).mean() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_all_orientations_are_applied_once(orientation, kind):
    pixels = photo(0)
    upright = Image.open(io.BytesIO(turned("PNG", orientation)(pixels)))
    assert (decode(turned(kind, orientation)(pixels)) == np.asarray(ImageOps.exif_transpose(upright))).all()


def test_a_flipped_byte_in_a_png_never_changes_a_picture_unseen():
    data, pixels = encoded(photo(3), "PNG", compress_level=0), photo(3)
    for at in random.Random(1).sample(range(len(data)), 150):
        damaged = bytearray(data)
        damaged[at] ^= 1
        try:
            found = decode(bytes(damaged))
        except UserError:
            continue
        assert found.shape == pixels.shape
        assert (found == pixels).all(), at


@pytest.mark.filterwarnings("ignore::UserWarning")  # of damaged side information
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "MPO"])
def test_whatever_is_wrong_with_a_file_decode_says_it_with_a_stage_error(kind):
    chance = random.Random(kind)
    data = turned(kind)(photo(5)) if kind in ("JPEG", "PNG", "WEBP", "TIFF") else encoded(photo(5), kind)
    for _ in range(150):
        damaged = bytearray(data[: chance.choice([len(data), chance.randrange(len(data))])])
        for _ in range(chance.randrange(1, 6)):  # headers lie at the start, and what a TIFF's says at the end
            place = chance.choice([chance.randrange(len(data)), chance.randrange(200), -chance.randrange(1, 200)])
            if -len(damaged) <= place < len(damaged):
                damaged[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        try:
            pixels = decode(bytes(damaged), max_pixels=1e6)
        except UserError as reason:
            assert str(reason).isprintable()
        else:
            assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
            named_wrongly("x.png", bytes(damaged))


def test_on_bad_fail_names_the_file(in_process, tmp_path):
    for number in range(3):
        save(tmp_path / f"in/cat/{number}.png", photo(number))
    (tmp_path / "in/cat/torn.jpg").write_bytes(cut("JPEG", 0.5)(photo(5)))
    with pytest.raises(UserError, match=r"train/cat/torn.jpg: cannot be decoded .*on_bad is fail"):
        download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(on_bad="fail"), seed=1)


def test_on_bad_fail_takes_two_labels_for_bad_but_not_copies(in_process, tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        save(tmp_path / "in" / name, photo(len(name) if name != "dog/1.png" else 1))
    save(tmp_path / "in/dog/2.png", photo(2))
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(on_bad="fail"), seed=1)
    assert (report["kept"], len(report["dropped"])) == (3, 1)
    save(tmp_path / "in/dog/3.png", photo(9))  # that of the cats
    with pytest.raises(UserError, match="which label is right"):
        download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "again", params(on_bad="fail"), seed=1)


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_order_in_which_files_are_listed_does_not_matter(in_process, corpus, result, tmp_path):
    found = list(sources.from_folder(corpus[0]))
    for number in range(3):
        random.Random(number).shuffle(found)
        again = download.keep(found, tmp_path / str(number), params(), seed=1)
        assert again == result[0]
        files, wanted = everything(tmp_path / str(number)), everything(result[1])
        for folder in (files, wanted):
            folder.pop("train/good/b__c.png")  # two files have this name
        assert files == wanted


def test_the_order_does_not_matter_where_a_picture_is_in_many_classes(in_process, tmp_path):
    for label in "abcd":
        save(tmp_path / f"in/{label}/same.png", photo(1))
        save(tmp_path / f"in/{label}/own.png", photo(ord(label)))
    found = list(sources.from_folder(tmp_path / "in"))
    reports = []
    for number in range(4):
        random.Random(number).shuffle(found)
        reports.append(download.keep(found, tmp_path / str(number), params(), seed=1))
    assert len(reports[0]["dropped"]) == 4
    assert all(report == reports[0] for report in reports)


def test_the_limit_picks_the_same_pictures_in_any_order(in_process, tmp_path):
    pixels = [Found("train", f"class{number % 3}", f"{number}.png", photo(number)) for number in range(60)]
    kept = []
    for number in range(3):
        random.Random(number).shuffle(pixels)
        report = download.keep(pixels, tmp_path / str(number), params(limit_per_class=5), seed=7)
        assert report["classes"] == {"class0": 5, "class1": 5, "class2": 5}
        assert (report["found"], report["beyond_limit_per_class"]) == (15, 45)
        kept.append(everything(tmp_path / str(number)))
    assert kept[0] == kept[1] == kept[2]
    download.keep(pixels, tmp_path / "other", params(limit_per_class=5), seed=8)
    assert set(everything(tmp_path / "other")) != set(kept[0])


def test_many_files_that_would_have_one_name_are_all_accounted_for(in_process, tmp_path):
    for number, name in enumerate(["b/c/d.png", "b/c__d.png", "b__c/d.png", "b__c__d.png", "b__c__d.png (another)"]):
        (tmp_path / "in/a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in/a" / name).write_bytes(encoded(photo(number), "PNG"))
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
    assert report["found"] == 5 == report["kept"] + len(report["dropped"])
    assert all("another file has this name" in item["reason"] for item in report["dropped"])


def test_classes_that_become_one_keep_the_files_of_both(in_process, tmp_path):
    for number, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]):
        save(tmp_path / "in" / name, photo(number))
    asked = params(classes={"cat": "animal", "dog": "animal"})
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", asked, seed=1)
    assert report["classes"] == {"animal": 4}


def test_a_name_that_becomes_too_long_drops_the_file(in_process, tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    save(tmp_path / f"in/cat/{'x' * 100}/{'y' * 100}/{'z' * 100}.png", photo(2))
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
    assert (report["kept"], [item["reason"] for item in report["dropped"]]) == (1, ["its name is too long"])


def test_a_name_that_is_no_utf8_can_be_reported(in_process, tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    save(tmp_path / "in/cat/x.png", photo(2)).rename(tmp_path / "in/cat" / os.fsdecode(b"caf\xe9.png"))
    (tmp_path / "in/cat" / os.fsdecode(b"b\xe4d.png")).write_bytes(b"hello")
    save(tmp_path / "in/dog/1.png", photo(3))
    (tmp_path / "in/dog").rename(tmp_path / "in" / os.fsdecode(b"K\xf6ter"))
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
    assert (report["found"], report["kept"], len(report["classes"])) == (4, 3, 2)
    write_json(tmp_path / "report.json", report)


def test_a_link_to_itself_is_a_link_to_nothing(in_process, tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    (tmp_path / "in/cat/self.png").symlink_to("self.png")
    report = download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
    assert [item["reason"] for item in report["dropped"]] == ["a link to nothing"]


def test_folders_that_link_to_each_other_are_walked_once(tmp_path):
    for number, (one, other) in enumerate([("p", "q"), ("q", "p")]):
        save(tmp_path / f"in/cat/{one}/{one}.png", photo(number))
        (tmp_path / f"in/cat/{one}/to_{other}").symlink_to(f"../{other}")
    names = sorted(item.name for item in sources.from_folder(tmp_path / "in"))
    pictures = ["p__p.png", "p__to_q__q.png", "q__q.png", "q__to_p__p.png"]
    assert names == sorted([*pictures, "p__to_q__to_p", "q__to_p__to_q"])


@pytest.mark.parametrize("what", ["bomb", "huge file"])
def test_no_file_takes_more_memory_than_a_picture_may(what, tmp_path):
    path = tmp_path / "x.png"
    if what == "bomb":
        path.write_bytes(png(60000, 60000, 8, 2, bytes(1000)))  # 10.8 GB
    else:
        with path.open("wb") as stream:
            stream.truncate(8 * 2**30)  # takes no room on the disk
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2)\n"
        "from pathlib import Path; from stages.common.data.validation import *\n"
        f"found = Found('train', 'cat', 'x.png', Path({str(path)!r}))\n"
        "print(check(Job(found, Path('out/x.png'), Bounds(10, 1e8), 1)).reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "more than the largest" in done.stdout if what == "bomb" else done.stdout.strip() != "None"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no class folders"),
        (lambda path: path.mkdir(), "no class folders"),
        (lambda path: (path / ".hidden").mkdir(parents=True), "no class folders"),
        (lambda path: save(path / "x.png", photo(1)), "no class folders"),
        (lambda path: (path / "cat").mkdir(parents=True), "no pictures|no good picture"),
        (lambda path: save(path / "cat/x.png", photo(1)[:5]), "class cat has no good picture.*64 x 5"),
        (lambda path: (save(path / "cat/x.png", photo(1)), (path / "dog").mkdir()), "class dog"),
    ],
    ids=["missing", "empty", "hidden", "no class", "empty class", "bad class", "one empty class"],
)
def test_a_folder_without_good_pictures_is_refused(make, said, in_process, tmp_path):
    make(tmp_path / "in")
    with pytest.raises(UserError, match=said):
        download.keep(sources.from_folder(tmp_path / "in"), tmp_path / "out", params(), seed=1)
