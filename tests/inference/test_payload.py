"""Requests to a served model: what people send is read, everything else is refused without repeating it."""

import base64
import io
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.inference import payload

DATA = bytes(range(256)) * 3 + b"\xfb\xff\xfe"  # with + and / in base64
TEXT = base64.b64encode(DATA).decode()
ADDRESS = f"data:image/png;base64,{TEXT}"
SECRET = "squeamish.ossifrage"


def parquet(values):
    pd.DataFrame({"image": values}).to_parquet(stream := io.BytesIO())
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_records": [{"image": TEXT}]},
        {"dataframe_records": [{"name": "a.png", "image": TEXT}]},
        {"dataframe_records": [{"image": {"b64": TEXT}}], "params": {}},
        {"dataframe_split": {"columns": ["image"], "data": [[TEXT]]}},
        {"dataframe_split": {"index": [7], "columns": ["id", "image"], "data": [[1, TEXT]]}},
        {"instances": [TEXT]},
        {"instances": [[TEXT]]},
        {"instances": [{"b64": TEXT}]},
        {"instances": [{"image": TEXT}]},
        {"instances": [{"image": {"b64": TEXT}}]},
        {"inputs": [TEXT]},
        {"inputs": TEXT},
        {"inputs": {"image": [TEXT]}},
        {"inputs": {"image": TEXT}},
        {"inputs": {"b64": TEXT}},
        [TEXT],
        [{"image": TEXT}],
        {"image": [TEXT]},
        {"b64": TEXT},
        TEXT,
        [ADDRESS],
        [f" {ADDRESS}\n"],
        [base64.urlsafe_b64encode(DATA).decode()],
        [base64.encodebytes(DATA).decode()],
        [TEXT.rstrip("=")],
    ],
)
def test_every_usual_shape_of_json_is_read(content):
    assert payload.pictures(json.dumps(content).encode(), "application/json; charset=utf-8") == [DATA]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (f"image\n{TEXT}\n", "text/csv"),
        (f"\ufeffid,image\r\n1,{TEXT}\r\n", "text/csv"),
        (f'image,id\n"{base64.encodebytes(DATA).decode()}",1\n', "text/csv"),
        (f"image\n{ADDRESS}\n", "text/csv; charset=utf-8"),
        (parquet([DATA]), "application/vnd.apache.parquet"),
        (parquet([TEXT]), "application/vnd.apache.parquet"),
        (DATA, "image/png"),
    ],
)
def test_tables_and_single_files_are_read(body, content_type):
    assert payload.pictures(body if isinstance(body, bytes) else body.encode(), content_type) == [DATA]


def test_a_long_field_of_csv_is_read():
    long = base64.b64encode(bytes(1_000_000)).decode()
    assert payload.pictures(f"image\n{long}\n{TEXT}\n".encode(), "text/csv") == [bytes(1_000_000), DATA]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"dataframe_records": [{"image": SECRET}]}, "row 0: a picture must be base64 text, and this is not"),
        ({"instances": [TEXT, None, 3, True, [SECRET, SECRET], {"b64": 5}, {"image": None}]}, "row 1: .*not null"),
        ({"instances": [[[SECRET]]]}, "row 0: a picture must be base64 text, not list"),
        ({"instances": [1.5]}, "row 0: a picture must be base64 text, not number"),
        ({"dataframe_records": [{"picture": SECRET}]}, "there is no column `image`"),
        ({"inputs": {SECRET: [TEXT]}}, "there is no column `image`"),
        ({"dataframe_split": {"columns": [SECRET], "data": [[TEXT]]}}, "dataframe_split must be like"),
        ({"dataframe_split": [SECRET]}, "dataframe_split must be like"),
        ({"dataframe_split": {"columns": ["image"], "data": [[]]}}, "dataframe_split must be like"),
        ({"instances": [TEXT], "inputs": [SECRET]}, "the request must have one of inputs, instances"),
        ({SECRET: [TEXT]}, "there is no column `image`"),
        (3, "the request must be like"),
        (None, "the request must be like"),
        ({"instances": []}, "the request holds no pictures"),
        ({"dataframe_records": {}}, "there is no column"),
        ([], "the request holds no pictures"),
    ],
)
def test_other_json_is_refused_in_one_line_without_repeating_it(content, sentence):
    with pytest.raises(UserError, match=sentence) as raised:
        payload.pictures(json.dumps(content).encode(), "application/json")
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        (b"", "application/json", "is not valid application/json"),
        (f'{{"instances": ["{SECRET}'.encode(), "application/json", "is not valid application/json"),
        (b"[" * 100_000 + SECRET.encode(), "application/json", "is not valid application/json"),
        (b"\xff\xfe" + SECRET.encode(), "application/json", "is not valid application/json"),
        (b'{"instances": [' + b"1" * 5000 + b"]}", "application/json", "is not valid application/json"),
        (b"", "text/csv", "is not valid text/csv"),
        (SECRET.encode(), "text/csv", "there is no column `image`"),
        (b"image\n", "text/csv", "holds no pictures"),
        (b"image\n\xff\n", "text/csv", "is not valid text/csv"),
        (b"id,image,name\n1\n", "text/csv", "is not valid text/csv"),
        (b"image\n/etc/hostname.png\n", "text/csv", "row 0: a picture must be base64 text"),
        (SECRET.encode(), "application/vnd.apache.parquet", "is not valid application/vnd.apache.parquet"),
        (b"x", "application/x-www-form-urlencoded", "the Content-Type must be"),
        (b"x", "", "the Content-Type must be application/json, text/csv, .* or image/"),
        (bytes(100 * 10**6 + 1), "application/json", "the request has 100 MB, more than 100 MB"),
    ],
)
def test_other_bodies_are_refused(body, content_type, sentence):
    with pytest.raises(UserError, match=sentence) as raised:
        payload.pictures(body, content_type)
    assert SECRET not in str(raised.value)


def test_a_million_errors_are_one_line():
    with pytest.raises(UserError, match=r"row 9: .*; and 99,990 more$") as raised:
        payload.decoded([None] * 100_000)
    assert len(str(raised.value)) < 1000


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["image", "b64", "instances", "inputs", "dataframe_split", "columns", "data"]),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(content):
    try:
        files = payload.pictures(json.dumps(content).encode(), "application/json")
    except UserError:
        return
    assert files
    assert all(isinstance(file, bytes) for file in files)


@given(st.binary(max_size=200), st.sampled_from([*payload.READERS, "image/png"]))
def test_any_body_is_read_or_refused(body, content_type):
    try:
        assert all(isinstance(file, bytes) for file in payload.pictures(body, content_type))
    except UserError as error:
        assert "\n" not in str(error)
