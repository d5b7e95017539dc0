"""One folder of good, odd and bad files, made from real photographs; every file has its expected outcome."""

import os
import random
import shutil
import socket
import subprocess
import sys
from itertools import count

import numpy as np
import pytest
from PIL import Image

from darkroom.core import parallel
from darkroom.core.errors import UserError
from darkroom.core.files import write_json
from darkroom.images.decode import decode
from stages import download
from tests.helpers.odd_files import (
    COPIES,
    FILES,
    HIDDEN,
    KEPT,
    OUTCOMES,
    SPECIAL,
    TWO_LABELS,
    WRONG_SUFFIX,
    cut,
    encoded,
    photo,
    place,
    with_white,
)
from tests.helpers.pictures import bytes_by_name, download_params, save
from tests.helpers.project import ROOT
from tests.helpers.source_files import files_of
from tests.helpers.wide_files import png

pytestmark = pytest.mark.usefixtures("single_process")


def collect(files, folder, **changes):
    return download.collect(files, folder, download_params(**{"on_bad": "drop"} | changes), seed=1)[1]


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
    for name, target, _ in SPECIAL:
        if isinstance(target, str):
            (folder / name).symlink_to(target)
        elif target:
            target(folder / name)
    with pytest.MonkeyPatch.context() as patch, socket.socket(socket.AF_UNIX) as created:
        patch.chdir(folder / "bad")  # a socket's path may have 108 characters only
        created.bind("socket.png")
    return folder, photos


@pytest.fixture(scope="module")
def result(corpus, tmp_path_factory):
    """`(report, folder)` of one run over all of it, with a program `gs` on the PATH that leaves a trace."""
    base = tmp_path_factory.mktemp("result")
    (base / "gs").write_text(f"#!/bin/sh\ntouch {base}/started\n")
    (base / "gs").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "ALONE_SECONDS", float("inf"))
        patch.setenv("PATH", f"{base}{os.pathsep}{os.environ['PATH']}")
        report = collect(files_of("folder", corpus[0]), base / "out")
    assert not (base / "started").exists()
    return report, base / "out"


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_file_is_kept_or_dropped_with_its_reason(name, corpus, result):
    report, out = result
    reasons = [item["reason"] for item in report["dropped"] if item["path"].partition(" (another")[0] == place(name)]
    if OUTCOMES[name] in (KEPT, WRONG_SUFFIX):
        assert (out / place(name)).read_bytes() == (corpus[0] / name).read_bytes()
        assert (place(name) in report["named_wrongly"]) == (OUTCOMES[name] == WRONG_SUFFIX)
    else:
        assert len(reasons) == 1
        assert OUTCOMES[name] in reasons[0]
        assert reasons[0].isprintable()


def test_every_file_is_accounted_for(result):
    report, out = result
    kept = {place(name) for name, outcome in OUTCOMES.items() if outcome in (KEPT, WRONG_SUFFIX)}
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
        ("telephone.heic", same, 12),
        ("camera.hif", same, 12),
        ("turned.heic", quarter, 12),
        ("plain.avif", same, 12),
        ("turned.avif", quarter, 12),
        ("plain.jp2", same, 1),
        ("plain.j2k", same, 1),
        ("microscope.tif", lambda pixels: with_white(pixels)[..., :1].repeat(3, axis=-1), 1),
        ("microscope.png", with_white, 0),
        ("long_text.png", same, 0),
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
    original = expected(corpus[1][f"good/{name}"])
    pixels = decode(result[1] / "train/good" / name)
    assert (pixels.shape, pixels.dtype) == (original.shape, np.uint8)
    assert np.abs(pixels.astype(int) - original).mean() <= tolerance


def test_on_bad_fail_names_the_file(tmp_path):
    for number in range(3):
        save(tmp_path / f"in/cat/{number}.png", photo(number))
    save(tmp_path / "in/dog/1.png", photo(9))
    (tmp_path / "in/cat/torn.jpg").write_bytes(cut("JPEG", 0.5)(photo(5)))
    with pytest.raises(UserError, match=r"train/cat/torn.jpg: cannot be decoded .*on_bad is fail"):
        collect(files_of("folder", tmp_path / "in"), tmp_path / "out", on_bad="fail")


def test_the_order_in_which_files_are_listed_does_not_matter(corpus, result, tmp_path):
    files = files_of("folder", corpus[0])
    expected = bytes_by_name(result[1])
    for number in range(2):
        random.Random(number).shuffle(files)
        assert collect(files, tmp_path / str(number)) == result[0]
        assert bytes_by_name(tmp_path / str(number)) == expected


def test_files_that_would_have_one_name_are_all_kept(tmp_path):
    for number, name in enumerate(["b/c/d.png", "b/c__d.png", "b__c/d.png", "b__c__d.png", "b__c__d.png (another)"]):
        (tmp_path / "in/a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in/a" / name).write_bytes(encoded(photo(number), "PNG"))
    save(tmp_path / "in/b/1.png", photo(9))
    report = collect(files_of("folder", tmp_path / "in"), tmp_path / "out")
    assert (report["found"], report["kept"], report["dropped"]) == (6, 6, [])


def test_a_name_that_becomes_too_long_drops_the_file(tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    save(tmp_path / "in/dog/1.png", photo(3))
    save(tmp_path / f"in/cat/{'x' * 100}/{'y' * 100}/{'z' * 100}.png", photo(2))
    report = collect(files_of("folder", tmp_path / "in"), tmp_path / "out")
    assert (report["kept"], [item["reason"] for item in report["dropped"]]) == (2, ["its name is too long"])


def test_a_name_that_is_not_utf8_can_be_reported(tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    save(tmp_path / "in/cat/x.png", photo(2)).rename(tmp_path / "in/cat" / os.fsdecode(b"caf\xe9.png"))
    (tmp_path / "in/cat" / os.fsdecode(b"b\xe4d.png")).write_bytes(b"hello")
    save(tmp_path / "in/dog/1.png", photo(3))
    (tmp_path / "in/dog").rename(tmp_path / "in" / os.fsdecode(b"K\xf6ter"))
    report = collect(files_of("folder", tmp_path / "in"), tmp_path / "out")
    assert (report["found"], report["kept"], len(report["classes"])) == (4, 3, 2)
    write_json(tmp_path / "report.json", report)


def test_a_link_to_itself_is_a_link_to_nothing(tmp_path):
    save(tmp_path / "in/cat/1.png", photo(1))
    save(tmp_path / "in/dog/1.png", photo(2))
    (tmp_path / "in/cat/self.png").symlink_to("self.png")
    report = collect(files_of("folder", tmp_path / "in"), tmp_path / "out")
    assert [item["reason"] for item in report["dropped"]] == ["a link to nothing"]


MEMORY = """
import resource; resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2)
from pathlib import Path
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Bounds, Job, check
for name in ("bomb.png", "huge.png"):
    print(check(Job(SourceFile("train", "cat", name, Path(name)), name, Path("out"), Bounds(10, 1e8), 1)).reason)
"""


def test_no_file_takes_more_memory_than_a_picture_may(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(60000, 60000, 8, 2, bytes(1000)))  # 10.8 GB
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate(8 * 2**30)  # takes no space on disk
    result = subprocess.run(
        [sys.executable, "-c", MEMORY],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    bomb, huge = result.stdout.splitlines()
    assert "more than the largest" in bomb
    assert huge == "8,589,934,592 bytes are more than the largest picture may have"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "has no pictures"),
        (lambda path: (path / ".hidden").mkdir(parents=True), "has no pictures"),
        (lambda path: save(path / "x.png", photo(1)), "no class folders"),
        (lambda path: (path / "cat").mkdir(parents=True), "no pictures|no good picture"),
        (lambda path: save(path / "cat/x.png", photo(1)[:5]), "class cat has no good picture.*64 x 5"),
        (
            lambda path: (path / "cat").mkdir(parents=True) or (path / "cat/x.png").write_bytes(b"no"),
            r"class cat has no good picture \(not a picture of a known format\): add some, or choose",
        ),
        (lambda path: (save(path / "cat/x.png", photo(1)), (path / "dog").mkdir()), "class dog"),
    ],
    ids=["missing", "empty", "hidden", "no class", "empty class", "small", "bad class", "one empty class"],
)
def test_a_folder_without_good_pictures_is_refused(make, message, tmp_path):
    make(tmp_path / "in")
    if message.startswith("class cat"):
        save(tmp_path / "in/dog/1.png", photo(3))
    with pytest.raises(UserError, match=message):
        collect(files_of("folder", tmp_path / "in"), tmp_path / "out")
