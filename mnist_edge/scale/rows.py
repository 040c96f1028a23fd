"""An answer as a row: a line of JSON, or a row of a Parquet file."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_edge.image import Prepared
    from mnist_edge.predictor import Prediction

#: The forms that answers can be written in, each with the suffix of its files.
SUFFIXES = {"jsonl": ".jsonl", "parquet": ".parquet"}


def row(
    path: str, prediction: Prediction | None = None, prepared: Prepared | None = None, position: int | None = None, error: str | None = None
) -> dict[str, Any]:
    """Return the answer to a picture as JSON values. Exactly one of `prediction` and `error` is meant to be there.

    `position` is its index in an idx file.
    """
    found: dict[str, Any] = {"path": path, "digit": None, "confidence": None, "probabilities": None, "warnings": []}
    if prediction is not None:
        found |= prediction.to_json()
    if prepared is not None and prediction is not None:
        found |= {"ink": prepared.ink, "box": list(prepared.box)}
    if position is not None:
        found["index"] = position
    if error is not None:
        found |= {"digit": None, "error": error}
    return found


def encoded(rows: Iterable[dict[str, Any]], form: str) -> bytes:
    """Return rows as the bytes of a file."""
    if form == "jsonl":  # ASCII, so that a name that is not UTF-8 survives
        return b"".join(json.dumps(one, ensure_ascii=True).encode() + b"\n" for one in rows)
    import pyarrow as pa

    known = [{key: one.get(key) for key in _fields()} | {"path": _text(one["path"])} for one in rows]
    return _parquet(pa.Table.from_pylist(known, pa.schema(_fields())))


def joined(parts: Sequence[bytes], form: str) -> bytes:
    """Return one file for several, in their order."""
    if len(parts) == 1:
        return parts[0]
    if form == "jsonl":
        return b"".join(parts)
    import pyarrow as pa
    import pyarrow.parquet as pq

    return _parquet(pa.concat_tables(pq.read_table(pa.BufferReader(part)) for part in parts))


def counted(path: Path, form: str) -> tuple[int, int]:
    """Return how many rows a file has, and how many of them are errors. Raises OSError."""
    if form == "jsonl":
        lines = path.read_bytes().splitlines()
        return len(lines), sum("error" in json.loads(line) for line in lines if b'"error"' in line)
    import pyarrow.parquet as pq

    errors = pq.read_table(path, columns=["error"])["error"]
    return len(errors), len(errors) - errors.null_count


def _fields() -> dict[str, Any]:
    import pyarrow as pa

    return {
        "path": pa.string(),
        "index": pa.int64(),
        "digit": pa.int8(),
        "confidence": pa.float64(),
        "probabilities": pa.list_(pa.float64()),
        "warnings": pa.list_(pa.string()),
        "ink": pa.string(),
        "box": pa.list_(pa.int32()),
        "error": pa.string(),
    }


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _text(name: str) -> str:
    """Return a file's name as UTF-8, which Parquet demands; bytes that are none are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
