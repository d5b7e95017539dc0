from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from darkroom.core.errors import UserError
from darkroom.core.params import OneOf, Section, difference, flat, overlay, validate
from darkroom.core.yaml import parse_yaml, read_yaml


def test_yaml_is_version_1_2():
    """As DVC reads it: exponents are numbers, `on` and `no` are text."""
    text = (
        "{rate: 1e-4, number: 3e5, name: 1.e, octal: 0o7, classes: [on, no, yes], missing: null, empty: ~, flag: true}"
    )
    assert parse_yaml(text, "it") == {
        "rate": 1e-4,
        "number": 3e5,
        "name": "1.e",
        "octal": 7,
        "classes": ["on", "no", "yes"],
        "missing": None,
        "empty": None,
        "flag": True,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 'it is not valid YAML: found duplicate key "c" in line 4.'),
        ("a: 1\nb: [1", "it is not valid YAML: expected ',' or ']', but got '<stream end>' in line 2."),
        ("a: b: c", "it is not valid YAML: mapping values are not allowed here in line 1."),
        ("\ta: 1", "it is not valid YAML: found character '\\t' that cannot start any token in line 1."),
        ("a: 1\n---\nb: 1\n", "it is not valid YAML: but found another document in line 2."),
        ("a: 2025-02-31", "it is not valid YAML: day "),
        ("a: \0", "it is not valid YAML: unacceptable character"),
    ],
)
def test_invalid_yaml_is_explained_in_one_sentence(text, message):
    with pytest.raises(UserError) as error:
        parse_yaml(text, "it")
    assert str(error.value).startswith(message)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_not_text_is_named(tmp_path):
    with pytest.raises(UserError, match=r"settings\.yaml is missing: run from the project's root folder\.$"):
        read_yaml(tmp_path / "settings.yaml")
    (tmp_path / "settings.yaml").write_bytes(b"a: \xff")
    with pytest.raises(
        UserError, match=r"settings\.yaml is not valid YAML: its text is not UTF-8; save it as UTF-8\.$"
    ):
        read_yaml(tmp_path / "settings.yaml")
    (tmp_path / "settings.yaml").write_text("a: Ä")
    assert read_yaml(tmp_path / "settings.yaml") == {"a": "Ä"}


class Part(Section):
    """A mapping in a section."""

    size: list[Annotated[int, Field(ge=1)]] = Field([1, 1], min_length=2, max_length=2)
    kind: Annotated[str, OneOf({"a": 1, "b": 2})] = "a"


class First(Section):
    """A section."""

    needed: int
    target: Literal["max", "none"] | Annotated[int, Field(ge=1)] = "max"
    on: bool = False
    part: Part = Part()
    register_as: str | None = Field(None, alias="register", pattern="^x")

    @model_validator(mode="after")
    def _together(self) -> "First":
        if self.on and self.needed == 3:
            raise ValueError("on does not go with 3")
        return self


class Texts(Section):
    """A section of texts."""

    name: str = "a"
    maybe: str | None = None
    several: list[str] | None = None
    either: list[str] | dict[str, str] | None = None
    count: str | Annotated[int, Field(ge=1)] = "a"


class AllTexts(Section):
    """All sections."""

    texts: Texts


class All(Section):
    """All sections."""

    first: First


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "first.needed is missing"),
        ({"needed": 1, "no": 1}, "first.no is unknown (allowed here: needed, target, on, part, register)"),
        ({"needed": 1, "part": {"sise": 1}}, "first.part.sise is unknown (allowed here: size, kind)"),
        ({"needed": 1, "part": 7}, "first.part is 7, but should be a mapping"),
        ({"needed": 1, "part": {"size": [0, 1]}}, "first.part.size.0 is 0, but should be greater than or equal to 1"),
        ({"needed": 1, "part": {"size": [1]}}, "first.part.size is [1], but should have at least 2 items"),
        ({"needed": 1, "part": {"kind": "c"}}, "first.part.kind is 'c', but should be 'a' or 'b'"),
        ({"needed": 1, "target": 0}, "first.target is 0, but should be 'max' or 'none' or should be greater than"),
        ({"needed": True}, "first.needed is true, but should be a valid integer"),
        ({"needed": "1"}, "first.needed is '1', but should be a valid integer"),
        ({"needed": None}, "first.needed is null, but should be a valid integer"),
        ({"needed": 1, "register": "y"}, "first.register is 'y', but should match pattern '^x'"),
        ({"needed": 3, "on": True}, "first: on does not go with 3"),
        (7, "first is 7, but should be a mapping"),
        (
            {"needed": "1", "no": 1},
            "first.no is unknown (allowed here: needed, target, on, part, register); first.need",
        ),
    ],
)
def test_problems_are_named_with_key_value_and_what_is_allowed(section, message):
    with pytest.raises(UserError) as error:
        validate(All, {"first": section}, "settings.yaml")
    assert str(error.value).startswith(f"settings.yaml: {message}")
    assert str(error.value).endswith(".")


# What is written, how it is shown, and how it could be written as text.
NO_TEXT = [
    ("0", "0", "'0'"),
    ("012", "12", "'12'"),
    ("0x10", "16", "'16'"),
    ("1_000", "1000", "'1000'"),
    ("0b101", "5", "'5'"),
    ("-5", "-5", "'-5'"),
    ("1e3", "1000.0", "'1e3'"),
    ("1.5", "1.5", "'1.5'"),
    ("1e-4", "0.0001", "'0.0001'"),
    (".inf", ".inf", "'.inf'"),
    ("-.inf", "-.inf", "'-.inf'"),
    (".nan", ".nan", "'.nan'"),
    ("true", "true", "'true'"),
    ("False", "false", "'false'"),
    ("null", "null", "'null'"),
    ("~", "null", "'null'"),
    ("2020-01-01", "2020-01-01", "'2020-01-01'"),
    ("2020-01-01T10:00:00", "2020-01-01 10:00:00", "'2020-01-01 10:00:00'"),
]


@pytest.mark.parametrize(("written", "shown", "quoted"), NO_TEXT)
def test_what_yaml_does_not_take_for_text_should_be_in_quotes(written, shown, quoted):
    advice = f"should be text: put it in quotes, such as {quoted}"

    def refused(settings):
        with pytest.raises(UserError) as error:
            validate(AllTexts, {"texts": parse_yaml(settings, "it")}, "it")
        return str(error.value)

    assert refused(f"name: {written}") == f"it: texts.name is {shown}, but {advice}."
    for key in ("several", "either"):
        assert refused(f"{key}: [a, {written}]") == f"it: texts.{key}.1 is {shown}, but {advice}."
    assert refused(f"either: {{a: {written}}}") == f"it: texts.either.a is {shown}, but {advice}."
    assert refused(f"either: {{{written}: a}}") == f"it: texts.either has the key {shown}, which {advice}."
    if shown != "null":
        assert refused(f"maybe: {written}") == f"it: texts.maybe is {shown}, but {advice}."


def test_what_yaml_takes_for_text_needs_no_quotes():
    names = parse_yaml("[no, on, yes, off, y, n, 1.2.3, 12:30:00, '0', \"null\", 1e, e3]", "it")
    assert validate(AllTexts, {"texts": {"either": names}}, "it").texts.either == names
    assert all(isinstance(name, str) for name in names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("either: 7", "texts.either is 7, but should be a valid list or should be a mapping"),
        ("either: cat", "texts.either is 'cat', but should be a valid list or should be a mapping"),
        ("either: [[a, null]]", "texts.either.0 is ['a', null], but should be text"),
        ("either: {a: [b]}", "texts.either.a is ['b'], but should be text"),
        ("several: {a: 2020-01-01}", "texts.several is {'a': 2020-01-01}, but should be a valid list"),
        ("count: 0", "texts.count is 0, but should be text or should be greater than or equal to 1"),
        ("count: true", "texts.count is true, but should be text or should be a valid integer"),
        (
            "either: [1, true]",
            "texts.either.0 is 1, but should be text: put it in quotes, such as '1'; "
            "texts.either.1 is true, but should be text: put it in quotes, such as 'true'",
        ),
    ],
)
def test_one_clear_sentence_for_a_key_of_several_types(settings, message):
    with pytest.raises(UserError) as error:
        validate(AllTexts, {"texts": parse_yaml(settings, "it")}, "it")
    assert str(error.value) == f"it: {message}."


def test_a_number_is_no_name_of_a_setting():
    for key in ("1", "null", "2020-01-01"):
        with pytest.raises(UserError, match=rf"^it: texts\.{key} is no name of a setting\.$"):
            validate(AllTexts, {"texts": parse_yaml(f"{{{key}: a}}", "it")}, "it")


def test_an_unknown_section_is_named():
    with pytest.raises(UserError, match=r"^settings\.yaml: frist is not a section \(sections: first\)\.$"):
        validate(All, {"first": {"needed": 1}, "frist": {}}, "settings.yaml")


def test_flat_names_are_joined_by_dots():
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": None, "f": {}}) == {"a.b.c": 1, "a.d": [2], "e": None}


def test_an_overlay_merges_mappings_and_replaces_everything_else():
    content = {"a": {"b": 1, "c": [1, 2], "d": None}, "e": {"f": {"g": 1}}}
    change = {"a": {"c": [3], "d": {"x": "y"}}, "e": {"f": {"h": 2}}}
    assert overlay(content, change) == {
        "a": {"b": 1, "c": [3], "d": {"x": "y"}},
        "e": {"f": {"g": 1, "h": 2}},
    }
    assert overlay(content, {"e": None})["e"] is None
    assert content == {"a": {"b": 1, "c": [1, 2], "d": None}, "e": {"f": {"g": 1}}}


KEYS = st.sampled_from("abc")
VALUES = (
    st.none() | st.booleans() | st.integers(0, 2) | st.text("xy", max_size=1) | st.lists(st.integers(0, 1), max_size=2)
)
TREES = st.recursive(VALUES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=12)
MAPPINGS = st.dictionaries(KEYS, TREES, max_size=3)


@settings(deadline=None)
@given(MAPPINGS, MAPPINGS)
def test_a_difference_leads_from_the_defaults_to_the_content(content, defaults):
    content = overlay(defaults, content)  # has every key of the defaults
    change = difference(content, defaults)
    assert overlay(defaults, change) == content
    assert difference(defaults, defaults) == {}
    assert difference(overlay(defaults, change), content) == {}


@settings(deadline=None)
@given(MAPPINGS, MAPPINGS)
def test_an_overlay_may_be_repeated(content, change):
    once = overlay(content, change)
    assert overlay(once, change) == once
    assert overlay(content, {}) == content
    assert set(once) == {*content, *change}
