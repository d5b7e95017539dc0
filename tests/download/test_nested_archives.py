"""Archives in archives, and in the user's folder, are opened; messages name them as the user knows them."""

import re

import pytest

from darkroom.core.errors import UserError
from darkroom.download.archives.members import Limits
from darkroom.download.archives.unpack import unpack
from darkroom.download.local import local_path, origin
from tests.helpers.archive_files import EVERY, KINDS, LIMITS, NOISE, make, under
from tests.helpers.pictures import download_params

TRAIN = {"cat/1.jpg": b"a", "dog/2.jpg": b"b"}
TEST = {"3.jpg": b"c", "4.jpg": b"d"}


@pytest.fixture
def packed(tmp_path):
    """The bytes of an archive of the kind in its name."""

    def pack(name, files):
        return make(tmp_path / f"packed-{name}", files).read_bytes()

    return pack


@EVERY
def test_archives_in_an_archive_are_replaced_by_folders(kind, tmp_path, packed, folder):
    ending = kind.partition(".")[2]
    inner = {f"train.{ending}": packed(f"1.{ending}", TRAIN), "set/test1.zip": packed("2.zip", TEST)}
    assert unpack(make(tmp_path / kind, inner | {"readme.txt": b"x"}), folder, LIMITS) == folder
    assert under(folder) == {
        "readme.txt": b"x",
        **{f"train/{name}": data for name, data in TRAIN.items()},
        **{f"set/test1/{name}": data for name, data in TEST.items()},
    }


def test_a_lone_archive_in_an_archive_is_the_data_set(tmp_path, packed, folder):
    pets = packed("1.tar.gz", {f"pets/{name}": data for name, data in TRAIN.items()})
    inner = unpack(make(tmp_path / "x.zip", {"set/pets.tar.gz": pets}), folder, LIMITS)
    assert inner == folder / "set/pets"
    assert under(inner) == TRAIN


def test_an_archive_for_each_class(tmp_path, packed, folder):
    inner = {f"{label}.zip": packed(f"{label}.zip", {f"{label}/1.jpg": b"x", f"{label}/2.jpg": b"y"}) for label in "ab"}
    unpack(make(tmp_path / "x.7z", inner), folder, LIMITS)
    assert under(folder) == {f"{label}/{n}.jpg": data for label in "ab" for n, data in ((1, b"x"), (2, b"y"))}


@pytest.mark.parametrize("picture", ["cat/1.jpg", "cat/1.PNG", "1.heic", "cat/no suffix"])
def test_an_archive_among_pictures_stays_a_file(picture, tmp_path, packed, folder):
    content = b"\x89PNG\r\n\x1a\n"  # a picture, whatever its name
    files = {"cat/extra.zip": packed("1.zip", TRAIN), picture: content}
    unpack(make(tmp_path / "x.zip", files), folder, LIMITS)
    assert under(folder) == files


@pytest.mark.parametrize("name", ["notes.docx", "data.npz", "model.keras", "x.jar", "train.csv.gz", ".hidden.zip"])
def test_documents_and_compressed_tables_are_not_opened(name, tmp_path, packed, folder):
    inner = packed("1.zip", {"word/document.xml": b"x"})
    if name.endswith(".gz"):
        import gzip

        inner = gzip.compress(b"1,2\n")
    unpack(make(tmp_path / "x.zip", {name: inner, "train.csv": b"1,2\n"}), folder, LIMITS)
    assert under(folder) == {name: inner, "train.csv": b"1,2\n"}


def test_archives_beside_a_table_are_opened(tmp_path, packed, folder):
    """As in those of competitions: labels or a sample of a submission lie beside the archives of pictures."""
    files = {"labels.csv": b"name,label\n", "train.zip": packed("1.zip", TRAIN)}
    unpack(make(tmp_path / "x.zip", files), folder, LIMITS)
    assert sorted(under(folder)) == ["labels.csv", "train/cat/1.jpg", "train/dog/2.jpg"]


def test_names_that_are_taken(tmp_path, packed, folder):
    inner = {name: packed(f"{number}.zip", TEST) for number, name in enumerate(["x.zip", "x.tar", "y.zip", "z"])}
    unpack(make(tmp_path / "x.tar", inner | {"y/notes.txt": b"x"}), folder, LIMITS)
    places = {name.rpartition("/")[0] for name in under(folder)}
    assert places == {"x", "x.zip", "y", "y.zip", "z"}


def nest(packed, depth, files):
    for level in range(depth):
        files = {f"{level}.zip": packed(f"{level}.zip", files)}
    return files


def test_archives_are_opened_three_deep(tmp_path, packed, folder):
    inner = unpack(make(tmp_path / "x.zip", nest(packed, 3, TRAIN)), folder, LIMITS)
    assert inner == folder / "2"
    assert under(inner) == TRAIN


def test_archives_nested_deeper_are_refused(tmp_path, packed, refused):
    message = refused(make(tmp_path / "x.zip", nest(packed, 4, TRAIN)))
    assert "x.zip/3.zip/2.zip/1.zip/0.zip lies in more than 3 archives: unpack them yourself" in message


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (b"", "is empty"),
        (b"Rar!\x1a\x07\0" + NOISE[:100], "is a RAR archive, which is not supported"),
        (b"PK\3\4" + NOISE[:100], "is a damaged zip archive"),
        (b"<html>404</html>", "is a web page"),
    ],
)
def test_messages_name_an_inner_archive(inner, words, tmp_path, refused):
    message = refused(make(tmp_path / "x.zip", {"set/train.zip": inner, "a.txt": b"x"}))
    assert message.startswith(f"{tmp_path / 'x.zip'}/set/train.zip {words}")
    assert ".partial" not in message


@pytest.mark.parametrize("depth", [1, 2])
def test_the_limits_are_shared(depth, tmp_path, packed, refused):
    outer = make(tmp_path / "x.zip", nest(packed, depth, {f"{n}.jpg": b"x" * 100 for n in range(12)}))
    assert "more than 12 files" in refused(outer, Limits(10**6, 12))


def test_the_bytes_of_the_limits_are_shared(tmp_path, packed, refused):
    outer = make(tmp_path / "x.zip", {f"{n}.zip": packed(f"{n}.zip", {"1.jpg": bytes(6000)}) for n in range(2)})
    assert "0.0 GB" in refused(outer, Limits(10_000, 100))


def local(path, scratch, **changes):
    scratch.mkdir()
    return local_path(download_params(path=str(path), **changes), scratch)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_dropped_into_the_folder_is_opened(kind, tmp_path, packed):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/.gitkeep").touch()
    (tmp_path / "in/desktop.ini").touch()
    make(tmp_path / "in" / kind, TRAIN)
    before = sorted(under(tmp_path / "in"))
    found = local(tmp_path / "in", tmp_path / "scratch")
    assert found == tmp_path / "scratch/x"
    assert under(found) == TRAIN
    assert sorted(under(tmp_path / "in")) == before


def test_archives_for_parts_and_classes_keep_their_places(tmp_path):
    for part, label in (("train", "cat"), ("train", "dog"), ("test", "cat")):
        (tmp_path / "in" / part).mkdir(parents=True, exist_ok=True)
        make(tmp_path / f"in/{part}/{label}.zip", TEST)
    assert sorted(under(local(tmp_path / "in", tmp_path / "scratch"))) == [
        f"{folder}/{name}" for folder in ("test/cat", "train/cat", "train/dog") for name in TEST
    ]


@pytest.mark.parametrize("other", ["labels.csv", "cat/1.jpg"])
def test_a_folder_with_other_files_is_left_as_it_is(other, tmp_path):
    make(tmp_path / "x.zip", TRAIN)
    (tmp_path / "in/cat").mkdir(parents=True)
    (tmp_path / "x.zip").rename(tmp_path / "in/x.zip")
    (tmp_path / "in" / other).write_bytes(b"x")
    assert local(tmp_path / "in", tmp_path / "scratch") == tmp_path / "in"
    assert not list((tmp_path / "scratch").iterdir())


def test_messages_name_the_archive_in_the_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/pets.rar").write_bytes(b"Rar!\x1a\x07\0")
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}/in/pets.rar is a RAR archive")):
        local(tmp_path / "in", tmp_path / "scratch")


def test_a_damaged_archive_is_told_from_a_missing_folder(tmp_path):
    """Its end is missing, so that it is not known by its content."""
    make(tmp_path / "x.zip", {"1.jpg": NOISE})
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes()[:1000])
    with pytest.raises(UserError, match="is a damaged zip archive"):
        local(tmp_path / "x.zip", tmp_path / "scratch")


def test_a_folder_is_no_archive(tmp_path):
    (tmp_path / "in/cat").mkdir(parents=True)
    (tmp_path / "in/cat/1.jpg").touch()
    with pytest.raises(UserError, match=r"is a folder, not an archive: set download\.source to folder"):
        local_path(download_params(path=str(tmp_path / "in")), tmp_path, unpacked=True)


def test_the_origin_is_what_the_user_gave():
    assert origin(download_params(path="data/pets.zip", url=None)) == "data/pets.zip"
    assert origin(download_params(path="data/incoming", url="https://x.org/pets.zip")) == "https://x.org/pets.zip"


@pytest.mark.parametrize(
    ("data", "again"), [(b"<html>404</html>", True), (b"PK\3\4damaged", True), (b"", True), (b"Rar!\x1a\x07\0", False)]
)
def test_a_damaged_download_is_not_found_in_the_cache_again(data, again, tmp_path, monkeypatch):
    fetched = tmp_path / "pets.zip"
    fetched.write_bytes(data)
    monkeypatch.setattr("darkroom.download.local.fetch", lambda url, digest: fetched)
    for digest in ("0" * 64, None):
        with pytest.raises(UserError, match=r"^https://x\.org/pets\.zip is "):
            local_path(download_params(url="https://x.org/pets.zip", sha256=digest), tmp_path)
        assert fetched.exists() == (not again or bool(digest))
