"""SHA256SUMS beside an export: what it says about intact, damaged, missing, added and unlisted files."""

import os
import subprocess
from pathlib import Path

import pytest

from darkroom.core.errors import UserError
from darkroom.inference import digests, formats
from darkroom.inference.formats import FORMATS

FILES = (
    "model.keras", "model.onnx", "model.tflite", "model_int8.tflite", "classes.json",
    "saved_model/saved_model.pb", "saved_model/variables/variables.index", "saved_model/assets.extra/classes.json",
)  # fmt: skip


@pytest.fixture
def exports(tmp_path, monkeypatch):
    """A folder like exports/, in the current one."""
    for number, name in enumerate(FILES):
        path = tmp_path / "exports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 100)
    digests.write(tmp_path / "exports")
    monkeypatch.chdir(tmp_path)
    return Path("exports")


def test_sha256sum_checks_the_file(exports):
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=exports, capture_output=True, text=True, check=True)
    assert done.stdout == "".join(f"{name}: OK\n" for name in sorted(FILES))


def test_intact_files_and_folders_are_vouched_for(exports, monkeypatch):
    for name in sorted({Path(name).parts[0] for name in FILES}):
        assert digests.verify(exports / name)
        assert digests.verify(Path("exports/saved_model/..") / name)
    monkeypatch.chdir(exports / "saved_model")
    assert digests.verify(Path())


def test_a_link_is_checked_where_it_lies(exports, tmp_path):
    """DVC's cache may be linked into the project."""
    stored = tmp_path / "cache"
    (exports / "model.onnx").rename(stored)
    (exports / "model.onnx").symlink_to(stored)
    assert digests.verify(exports / "model.onnx")
    stored.write_bytes(b"other")
    with pytest.raises(UserError, match=r"^exports/model\.onnx does not match"):
        digests.verify(exports / "model.onnx")


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_refused_before_anything_is_loaded(exports, name):
    content = bytearray((exports / name).read_bytes())
    content[50] ^= 8
    (exports / name).write_bytes(content)
    whole = exports / Path(name).parts[0]
    with pytest.raises(UserError, match=rf"^{whole} does not match the SHA256SUMS beside it \({name} has other"):
        digests.verify(whole)
    if any(registered.recognises(whole) for registered in FORMATS.values()):
        with pytest.raises(UserError, match=r"does not match the SHA256SUMS.*`dvc repro -f -s export`"):
            formats.load(whole)


def test_missing_added_and_unlisted_files_are_refused(exports):
    (exports / "saved_model/variables/variables.index").unlink()
    with pytest.raises(UserError, match=r"\(saved_model/variables/variables.index is missing\)"):
        digests.verify(exports / "saved_model")
    digests.write(exports)
    (exports / "saved_model/more.pb").write_text("x")
    with pytest.raises(UserError, match=r"\(saved_model/more.pb is not listed in it\)"):
        digests.verify(exports / "saved_model")
    (exports / "other.onnx").write_text("x")
    with pytest.raises(UserError, match=r"^exports/other.onnx .*\(other.onnx is not listed"):
        digests.verify(exports / "other.onnx")
    assert digests.verify(exports / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"<html>", b"0" * 64, None])
def test_a_damaged_sums_file_vouches_for_nothing(exports, content):
    (exports / "SHA256SUMS").unlink()
    if content is None:
        (exports / "SHA256SUMS").mkdir()
    else:
        (exports / "SHA256SUMS").write_bytes(content)
    with pytest.raises(UserError, match=r"exports/model\.onnx does not match the SHA256SUMS beside it"):
        digests.verify(exports / "model.onnx")


def test_a_file_that_was_copied_alone_is_not_checked(exports, tmp_path):
    os.rename(exports / "model.onnx", tmp_path / "model.onnx")  # noqa: PTH104
    assert not digests.verify(tmp_path / "model.onnx")
