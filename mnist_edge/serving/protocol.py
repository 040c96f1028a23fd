"""The Open Inference Protocol, version 2, over HTTP: a request's body → pixels, logits → an answer's body. Pure functions.

Sources: the protocol's specification/protocol/inference_rest.md, and Triton's extension for binary tensor data.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import orjson

from mnist_edge.common.version import __version__
from mnist_edge.serving.refusals import RefusalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.serving.models import Served

#: How many bytes of an infer body are JSON; the tensors' bytes follow. 0: the body is one tensor and nothing else.
JSON_LENGTH = b"inference-header-content-length"

EXTENSIONS = ("binary_tensor_data", "model_repository(index)")

_SIZE = 28 * 28
_JSON, _BYTES = b"application/json", b"application/octet-stream"


class Question(NamedTuple):
    """A request to infer, checked.

    Attributes:
        pixels: uint8, N×1×28×28.
        id: what the client called the request; None for nothing.
        binary: whether the logits are wanted as bytes and not as JSON.
    """

    pixels: NDArray[np.uint8]
    id: str | None = None
    binary: bool = False


def server_metadata() -> dict[str, Any]:
    """Return what ``GET /v2`` answers."""
    return {"name": "mnist-edge", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(model: Served) -> dict[str, Any]:
    """Return what ``GET /v2/models/NAME`` answers."""
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": model.platform,
        "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 1, 28, 28]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, len(model.classes)]}],
    }


def parse(body: bytes, json_length: bytes | None) -> Question:
    """Read the body of a request to infer; `json_length` is the header `JSON_LENGTH`. Raises RefusalError, 400, for anything else than a valid one."""
    if json_length == b"0":
        if not body or len(body) % _SIZE:
            _refuse(f"a raw body is N×1×28×28 bytes, a multiple of {_SIZE}; this one has {len(body):,}")
        return Question(np.frombuffer(body, np.uint8).reshape(-1, 1, 28, 28), None, True)
    if json_length is None:
        return _question(_document(body), b"")
    length = int(json_length) if json_length.isdigit() and len(json_length) < 12 else -1
    if not 0 < length <= len(body):
        _refuse(
            f"{JSON_LENGTH.decode()} is {{}}, and has to be a number of bytes from 0 to the body's {len(body):,}",
            json_length[:20].decode("latin-1"),
        )
    return _question(_document(body[:length]), body[length:])


def answer(model: Served, question: Question, logits: NDArray[np.float32]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the body of an answer, and the headers that say how to read it."""
    if question.binary and question.id is None:
        head, length = _head(model.name, model.version, logits.shape)
        return head + logits.astype("<f4", copy=False).tobytes(), [(b"content-type", _BYTES), (JSON_LENGTH, length)]
    output: dict[str, Any] = {"name": "logits", "datatype": "FP32", "shape": list(logits.shape)}
    document: dict[str, Any] = {"model_name": model.name, "model_version": model.version, "outputs": [output]}
    if question.id is not None:
        document["id"] = question.id
    if not question.binary:
        output["data"] = logits.ravel().tolist()
        return orjson.dumps(document), [(b"content-type", _JSON)]
    output["parameters"] = {"binary_data_size": 4 * logits.size}
    head = orjson.dumps(document)
    return head + logits.astype("<f4", copy=False).tobytes(), [(b"content-type", _BYTES), (JSON_LENGTH, str(len(head)).encode())]


@lru_cache(128)
def _head(model: str, version: str, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """Return the JSON before an answer's bytes, and its length."""
    output = {"name": "logits", "datatype": "FP32", "shape": list(shape), "parameters": {"binary_data_size": 4 * math.prod(shape)}}
    head = orjson.dumps({"model_name": model, "model_version": version, "outputs": [output]})
    return head, str(len(head)).encode()


def _question(document: Any, tensors: bytes) -> Question:
    if not isinstance(document, dict):
        _refuse("the request has to be a JSON object")
    name = document.get("id")
    if name is not None and not (isinstance(name, str) and len(name) <= 1000):
        _refuse("id has to be a text of at most 1,000 characters")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        _refuse("inputs has to be a list of one object, with the input 'pixels'")
    return Question(_pixels(inputs[0], tensors), name, _wants_bytes(document))


def _pixels(tensor: dict[str, Any], tensors: bytes) -> NDArray[np.uint8]:
    if tensor.get("name") != "pixels":
        _refuse("the input's name has to be 'pixels', and is {}", tensor.get("name"))
    if tensor.get("datatype") != "UINT8":
        _refuse("pixels: datatype has to be 'UINT8', and is {}", tensor.get("datatype"))
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) != 4
        or any(type(size) is not int for size in shape)
        or shape[1:] != [1, 28, 28]
        or not 0 < shape[0] < 2**31
    ):
        _refuse("pixels: shape has to be [N,1,28,28] with N from 1 on, and is {}", shape)
    count = math.prod(shape)
    size = _parameters(tensor, "pixels").get("binary_data_size")
    if size is None:
        if tensors:
            _refuse(f"{len(tensors):,} bytes follow the JSON, and no input has the parameter binary_data_size")
        return _from_json(tensor.get("data"), shape, count)
    if "data" in tensor:
        _refuse("pixels: has both data and binary_data_size; leave one out")
    if type(size) is not int or size != count or size != len(tensors):
        _refuse(f"pixels: shape {{}} is {count:,} bytes, binary_data_size is {{}}, and {len(tensors):,} follow the JSON", shape, size)
    return np.frombuffer(tensors, np.uint8).reshape(shape)


def _from_json(data: Any, shape: list[int], count: int) -> NDArray[np.uint8]:
    if not isinstance(data, list):
        _refuse("pixels: data has to be a list of whole numbers from 0 to 255, or lists of lists of them")
    values: list[Any] = data
    if data and isinstance(data[0], list):
        values = [data]
        for size in shape:
            if any(type(one) is not list or len(one) != size for one in values):
                _refuse("pixels: data is not nested as shape {} says", shape)
            values = list(chain.from_iterable(values))
    if len(values) != count:
        _refuse(f"pixels: shape {{}} is {count:,} values, and data has {len(values):,}", shape)
    if set(map(type, values)) != {int}:
        _refuse("pixels: data has to be whole numbers from 0 to 255")
    try:
        found = bytes(values)
    except (ValueError, OverflowError):
        _refuse("pixels: data has to be whole numbers from 0 to 255")
    return np.frombuffer(found, np.uint8).reshape(shape)


def _wants_bytes(document: dict[str, Any]) -> bool:
    usual = _flag(_parameters(document, "the request"), "binary_data_output", False)
    outputs = document.get("outputs")
    if outputs is None or outputs == []:
        return usual
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict) or outputs[0].get("name") != "logits":
        _refuse("outputs has to be a list of one object, with the output 'logits'")
    parameters = _parameters(outputs[0], "logits")
    if "classification" in parameters:
        _refuse("logits: the parameter classification is not supported; POST /predict answers with the digit")
    return _flag(parameters, "binary_data", usual)


def _parameters(owner: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        _refuse(f"{what}: parameters has to be an object")
    return parameters


def _flag(parameters: dict[str, Any], name: str, usual: bool) -> bool:
    value = parameters.get(name, usual)
    if not isinstance(value, bool):
        _refuse(f"{name} has to be true or false, and is {{}}", value)
    return value


def _document(text: bytes) -> Any:
    try:
        return orjson.loads(text.removeprefix(b"\xef\xbb\xbf"))  # a mark that some programs put before UTF-8
    except ValueError as error:  # not JSON, not UTF-8, nested too deeply, or a number beyond what a float can be
        _refuse(f"the body cannot be read as JSON: {' '.join(str(error).split())[:100]}")


def _shown(value: Any) -> str:
    """Return a client's own value for an error: short, and one line."""
    try:
        text = repr(value)
    except RecursionError:
        text = "nested too deeply"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _refuse(message: str, *shown: Any) -> NoReturn:
    """Refuse a request; the message has ``{}`` for each of the client's values that it shows."""
    raise RefusalError(400, message, shown=tuple(_shown(one) for one in shown))
