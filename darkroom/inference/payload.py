"""Pictures in a request to a served model: the bytes of picture files, mostly as base64 text. Text is never a path."""

import base64
import csv
import io
import json
import re
import threading
from typing import Any

from darkroom.core.errors import UserError

COLUMN = "image"
MEGABYTES = 100  # the largest request
JSON, CSV, PARQUET, PICTURE = "application/json", "text/csv", "application/vnd.apache.parquet", "image/"
SHAPES = (
    f'{{"dataframe_records": [{{"{COLUMN}": "<base64>"}}, …]}}, with "dataframe_split", "instances" or "inputs", '
    f"or a list of base64 texts"
)
NUMBER = "number"
KINDS = {str: "text", bool: NUMBER, int: NUMBER, float: NUMBER, list: "list", dict: "object", type(None): "null"}
_csv_limit = threading.Lock()


def pictures(body: bytes, content_type: str) -> list[bytes]:
    """The picture files in the body of a request.

    Args:
        body: JSON in one of `SHAPES`, CSV or Parquet with a column `image`, or one picture file.
        content_type: its media type.

    Raises:
        UserError: one sentence on what is wrong, which repeats nothing of the body.
    """
    if len(body) > MEGABYTES * 10**6:
        size = f"{len(body) / 1e6:,.0f} MB"
        raise UserError(f"the request has {size}, more than {MEGABYTES} MB: send fewer pictures at once")
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith(PICTURE):
        return decoded([body])
    if kind not in READERS:
        raise UserError(f"the Content-Type must be {', '.join(READERS)} or {PICTURE}…")
    try:
        values = READERS[kind](body)
    except UserError:
        raise
    except Exception:  # the parsers' own messages repeat what they parse
        raise UserError(f"the request is not valid {kind}") from None
    return decoded(values)


def decoded(values: list[Any]) -> list[bytes]:
    """The picture files behind values, each bytes or what `file` reads.

    Raises:
        UserError: there are none, or some are not base64; the sentence names their rows.
    """
    if not values:
        raise UserError("the request holds no pictures")
    files: list[bytes] = []
    errors = []
    for row, value in enumerate(values):
        try:
            files.append(file(value))
        except UserError as error:
            errors.append(f"row {row}: {error}")
    if errors:
        raise UserError(listing(errors))
    return files


def listing(errors: list[str], shown: int = 10) -> str:
    """The first errors in one line."""
    more = f"; and {len(errors) - shown:,} more" if len(errors) > shown else ""
    return "; ".join(error[:200] for error in errors[:shown]) + more


def file(value: Any) -> bytes:
    """The bytes of a picture file.

    Args:
        value: bytes, or base64 text (also URL-safe, in lines, without padding, or in a `data:` address), in an object
            {"b64": …} or {"image": …} or a row of one value or not.

    Raises:
        UserError: it is neither.
    """
    if isinstance(value, dict) and len(value) == 1 and (inner := value.get("b64", value.get(COLUMN))) is not None:
        value = inner.get("b64") if isinstance(inner, dict) else inner
    elif isinstance(value, list) and len(value) == 1:
        (value,) = value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise UserError(f"a picture must be base64 text, not {KINDS.get(type(value), 'something else')}")
    text = re.sub(r"\s", "", re.sub(r"^\s*data:[^,]{0,200};base64,", "", value)).rstrip("=")
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise UserError("a picture must be base64 text, and this is not") from None


def _from_json(body: bytes) -> list[Any]:
    content = json.loads(body)
    if isinstance(content, dict):
        keys = content.keys() & {"dataframe_records", "dataframe_split", "instances", "inputs"}
        if len(keys) > 1:
            raise UserError(f"the request must have one of {', '.join(sorted(keys))}")
        key = "".join(keys)
        content = content[key] if key else content
        if key == "dataframe_split":
            content = _from_split(content)
    if isinstance(content, str) or (isinstance(content, dict) and "b64" in content):
        return [content]
    if isinstance(content, dict):
        column = _column(content)
        return column if isinstance(column, list) else [column]
    if not isinstance(content, list):
        raise UserError(f"the request must be like {SHAPES}")
    return [_column(row) if isinstance(row, dict) and "b64" not in row else row for row in content]


def _column(row: dict[str, Any]) -> Any:
    if COLUMN not in row:
        raise UserError(f"there is no column `{COLUMN}`: the request must be like {SHAPES}")
    return row[COLUMN]


def _from_split(content: Any) -> list[Any]:
    """A table as pandas writes it: {"columns": [...], "data": [[...], ...]}."""
    try:
        place = content["columns"].index(COLUMN)
        return [row[place] for row in content["data"]]
    except (TypeError, KeyError, ValueError, IndexError, AttributeError):
        raise UserError(f'dataframe_split must be like {{"columns": ["{COLUMN}"], "data": [["<base64>"]]}}') from None


def _from_csv(body: bytes) -> list[Any]:
    with _csv_limit:
        usual = csv.field_size_limit(
            len(body) + 1
        )  # a picture is longer than the characters that Python allows a field
        try:
            header, *rows = csv.reader(io.StringIO(body.decode("utf-8-sig")))
        finally:
            csv.field_size_limit(usual)
    if COLUMN not in header:
        raise UserError(f"there is no column `{COLUMN}`: the first line of the CSV must name it")
    place = header.index(COLUMN)
    # A data: address has a comma, which few people quote.
    last = place == len(header) - 1
    return [",".join(row[place:]) if last else row[place] for row in rows if row]


def _from_parquet(body: bytes) -> list[Any]:
    import pandas as pd

    table = pd.read_parquet(io.BytesIO(body))
    if COLUMN not in table:
        raise UserError(f"there is no column `{COLUMN}` in the table")
    return list(table[COLUMN])


READERS = {JSON: _from_json, CSV: _from_csv, PARQUET: _from_parquet}
