"""params.yaml may hold any bytes: one sentence of bounded length, or the values that DVC reads."""

import os
import warnings

import pytest
from dvc.utils.serialize import load_yaml as load_as_dvc
from dvc.utils.serialize import parse_yaml as parse_as_dvc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.core.yaml import MOST_BYTES, parse_yaml, read_yaml
from darkroom.pipeline import params
from tests.helpers.project import ROOT

LONGEST = 4500  # characters of a sentence: ten problems
REAL = (ROOT / "params.yaml").read_bytes()


def merging(levels):
    """Each level copies the one before ten times."""
    lines = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], k{n}: 1}}" for n in range(1, levels)]
    return "\n".join(["a0: &a0 {x: 1}", *lines])


def laughing(levels):
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(["a0: &a0 [x]", *lines])


REFUSED = {
    "deep list": "[" * 5000,
    "deep list that ends": "a: " + "[" * 200 + "]" * 200,
    "deep mapping": "\n".join(" " * level + "a:" for level in range(400)),
    "deeper than a file is": "a: " + "{b: " * 40 + "1" + "}" * 40,
    "aliases": laughing(12),
    "an alias of itself": "a: &a [*a]",
    "merge keys": merging(9),
    "too long": "a: 1\n" * MOST_BYTES,
    "a number that is none": "a: !!int abc",
    "5,000 digits": "a: " + "9" * 5000,
    "no Boolean": "a: !!bool maybe",
    "no date": "a: 2025-02-31",
    "an hour that is none": "a: 2025-02-03 25:61:00",
    "an object": "a: !!python/object/apply:os.system [true]",
    "a tag": "a: !foo bar",
    "another version": "%YAML 9.9\n---\na: 1",
    "a mapping as key": "? {a: b}\n: 1",
    "a control character": "a: \x1b[2J",
    "no byte of text": "a: \0",
    "two documents": "a: 1\n---\nb: 1\n",
    "a long key twice": f"{'k' * 500}: 1\n{'k' * 500}: 1",
    "no alias": f"a: *{'x' * 5000}",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name == "deep list" else []) for name in REFUSED]
)
def test_what_is_no_settings_file_is_refused_in_one_sentence(name):
    with pytest.raises(UserError) as error:
        parse_yaml(REFUSED[name], "params.yaml")
    assert str(error.value).startswith("params.yaml ")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 450


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_named(encoding, tmp_path):
    (tmp_path / "params.yaml").write_text("a: 1\n", encoding)
    with pytest.raises(UserError, match=r"is not valid YAML: (its text is not UTF-8|unacceptable character)"):
        read_yaml(tmp_path / "params.yaml")


def test_what_is_no_file_is_named(tmp_path):
    path = tmp_path / "params.yaml"
    path.symlink_to("nowhere")
    with pytest.raises(UserError, match="is a broken link"):
        read_yaml(path)
    for make in (os.mkdir, os.mkfifo):
        path.unlink()
        make(path)
        with pytest.raises(UserError, match="is not a regular file"):
            read_yaml(path)
        if path.is_dir():
            path.rmdir()
            path.touch()


SAME = (
    (
        "010 0o10 0b11 0x1F 1_000 190:20:30 1e3 1.5e3 .5 1_0.5 .inf .nan ~ null yes on off y 0008 1__0 0.1.2 -0 +.inf "
        "2020-01-01 2001-12-14t21:59:43.10-05:00 !!str 010 !!float 1 !!int 0x1F !!binary aGk= 0x 1. e3 |-"
    )
    .replace("!!str 010", "'!!str'")
    .split(" ")
)


def test_values_are_those_that_dvc_reads(tmp_path):
    texts = [f"a: {value}\n" for value in SAME]
    texts += [f"%YAML 1.1\n---\na: {value}\n" for value in ("010", "190:20:30", "yes", "1_000", "on")]
    texts += ["<<: {a: 1}\nb: 2", "a: &a {x: 1}\nb: {<<: *a, y: 2}", "\ufeffa: 1", "a: !!set {x}", "a: !!omap [x: 1]"]
    with warnings.catch_warnings(action="ignore"):
        for text in texts:
            (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
            try:
                expected = load_as_dvc(str(tmp_path / "params.yaml"))
            except Exception:
                with pytest.raises(UserError):
                    read_yaml(tmp_path / "params.yaml")
            else:
                assert repr(read_yaml(tmp_path / "params.yaml")) == repr(expected)


def check(data, path):
    """Settings or one sentence; what is accepted is what DVC reads."""
    path.write_bytes(data)
    try:
        content = params.load(path)
        params.check(content)
    except UserError as error:
        assert str(error).isprintable()
        assert len(str(error)) < LONGEST
    else:
        read = parse_as_dvc(path.read_text("utf-8"), str(path))
        assert {name: section or {} for name, section in read.items()} == content


PIECES = st.sampled_from(
    [
        *("&a ", "*a", "<<: ", "!!int ", "!!set ", "? ", "- ", "[", "]", "{", "}", ": ", "\n", "\t", "'", '"', "|\n "),
        *("%YAML 1.1\n", "~", "1e400", "0x" + "f" * 4000, ".nan", "2025-02-31", "\r", "\u2028", "\ufeff", "\x1b[2J"),
        *("---\n", "#", "null", "-1", "train: ", "  epochs: ", "download:\n", "  classes: ", "split: ", "base: "),
    ]
)
ONE = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=50, **ONE)
@given(st.binary(max_size=200) | st.lists(PIECES, max_size=12).map(lambda parts: "".join(parts).encode()))
def test_any_bytes_give_settings_or_a_sentence(tmp_path, data):
    check(data, tmp_path / "params.yaml")


@pytest.mark.full
@pytest.mark.table
@settings(max_examples=3000, **ONE)
@given(st.binary(max_size=500) | st.lists(PIECES | st.text(max_size=5), max_size=30).map(lambda p: "".join(p).encode()))
def test_many_more_bytes(tmp_path, data):
    check(data, tmp_path / "params.yaml")


@pytest.mark.full
@pytest.mark.table
@settings(max_examples=300, **ONE)
@given(st.integers(0, len(REAL)), st.integers(0, 40), st.binary(max_size=8) | PIECES.map(str.encode))
def test_the_real_file_with_a_change(tmp_path, place, length, data):
    check(REAL[:place] + data + REAL[place + length :], tmp_path / "params.yaml")
