"""The Open Inference Protocol: what is answered, and that whatever is wrong with a request is said, with a 4xx and never a 5xx."""

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from serving_process import LENET, Running, read_all

from mnist_edge.common.version import __version__

INFER = "/v2/models/lenet/infer"


def question(pixels: np.ndarray, **changes: Any) -> dict[str, Any]:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    return {"inputs": [tensor | changes]}


def packed(pixels: np.ndarray, document: dict[str, Any] | None = None) -> tuple[bytes, dict[str, str]]:
    """A request with the pixels as bytes behind the JSON."""
    inputs = [{"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape), "parameters": {"binary_data_size": pixels.size}}]
    head = json.dumps({"inputs": inputs} | (document or {})).encode()
    return head + pixels.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def read_binary(answer: Any) -> tuple[dict[str, Any], np.ndarray]:
    length = int(answer.headers["inference-header-content-length"])
    document = json.loads(answer.body[:length])
    (output,) = document["outputs"]
    values = answer.body[length:]
    assert output["parameters"] == {"binary_data_size": len(values)}
    return document, np.frombuffer(values, "<f4").reshape(output["shape"])


def test_the_server_and_its_model_describe_themselves(server: Running) -> None:
    assert server.ask("/v2/health/live").json() == {"live": True}
    assert server.ask("/v2/health/ready").json() == {"ready": True, "live": True}
    for path in ("/v2", "/v2/"):
        about = server.ask(path).json()
        assert about["version"] == __version__ and "binary_tensor_data" in about["extensions"]
    (entry,) = server.ask("/v2/repository/index", b"").json()
    version = entry["version"]
    assert entry == {"name": "lenet", "version": version, "state": "READY", "reason": ""}
    files = {one["file"]: one for one in json.loads((LENET / "manifest.json").read_text())["artifacts"]}
    assert files["lenet.onnx"]["sha256"].startswith(version)
    for path in ("/v2/models/lenet", f"/v2/models/lenet/versions/{version}"):
        assert server.ask(path).json() == {
            "name": "lenet",
            "versions": [version],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 1, 28, 28]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
        }
        assert server.ask(f"{path}/ready").json() == {"name": "lenet", "ready": True}


@pytest.mark.parametrize("count", [1, 5])
def test_every_way_to_send_and_to_answer_gives_the_same_logits(server: Running, pixels: np.ndarray, logits: np.ndarray, count: int) -> None:
    asked, expected = pixels[:count], logits[:count]
    flat = json.dumps(question(asked) | {"id": "mine"}).encode()
    nested = json.dumps(question(asked, data=asked.tolist())).encode()
    for body in (flat, nested, b"\xef\xbb\xbf" + nested):  # as some programs of Windows write it
        document = server.ask(INFER, body).json()
        (output,) = document["outputs"]
        assert document["model_name"] == "lenet" and document.get("id") == ("mine" if body is flat else None)
        assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [count, 10])
        assert np.array_equal(np.array(output["data"], np.float32).reshape(count, 10), expected)
    ways = [
        packed(asked, {"parameters": {"binary_data_output": True}, "id": "x"}),
        (asked.tobytes(), {"Inference-Header-Content-Length": "0"}),
    ]
    ways.append(packed(asked, {"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}))
    for body, headers in ways:
        document, found = read_binary(server.ask(INFER, body, **headers))
        assert np.array_equal(found, expected) and document["model_version"]
    body, headers = packed(
        asked, {"parameters": {"binary_data_output": True}, "outputs": [{"name": "logits", "parameters": {"binary_data": False}}]}
    )
    assert np.array_equal(np.array(server.ask(INFER, body, **headers).json()["outputs"][0]["data"], np.float32), expected.ravel())


def test_a_batch_is_answered_in_parts_as_one(server: Running, pixels: np.ndarray, logits: np.ndarray) -> None:
    _, found = read_binary(server.infer(np.repeat(pixels, 100, axis=0).tobytes()))
    assert np.array_equal(found.argmax(1), np.repeat(logits, 100, axis=0).argmax(1)) and found.shape == (500, 10)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("identity", lambda data: data),
    ],
)
def test_a_packed_body(server: Running, pixels: np.ndarray, logits: np.ndarray, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    body, headers = packed(pixels, {"parameters": {"binary_data_output": True}})
    _, found = read_binary(server.ask(INFER, pack(body), Content_Encoding=encoding, **headers))
    assert np.array_equal(found, logits)


@pytest.mark.parametrize(
    ("content", "encoding", "status", "words"),
    [
        (gzip.compress(bytes(20_000_000), mtime=0), "gzip", 413, "larger than 8,388,608 bytes"),
        (zlib.compress(bytes(20_000_000)), "deflate", 413, "larger than 8,388,608 bytes"),
        (gzip.compress(bytes(784), mtime=0)[:-5], "gzip", 400, "ends too soon"),
        (gzip.compress(bytes(784), mtime=0) + b"more", "gzip", 400, "4 bytes follow its end"),
        (b"nothing packed", "gzip", 400, "not gzip"),
        (bytes(784), "br", 415, "gzip, deflate or identity"),
        (gzip.compress(gzip.compress(bytes(784), mtime=0), mtime=0), "gzip, gzip", 415, "gzip, deflate or identity"),
    ],
)
def test_a_body_that_is_packed_wrongly_or_too_well(server: Running, content: bytes, encoding: str, status: int, words: str) -> None:
    answer = server.infer(content, Content_Encoding=encoding)
    assert answer.status == status and words in answer.error
    assert server.peak_memory() < 160e6  # a bomb is not unpacked to its end


ONE = np.zeros((1, 1, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "image"}, "name has to be 'pixels', and is 'image'"),
        ({"datatype": "FP32"}, "datatype has to be 'UINT8', and is 'FP32'"),
        ({"datatype": None}, "datatype has to be 'UINT8'"),
        ({"shape": [1, 28, 28]}, r"shape has to be [N,1,28,28]"),
        ({"shape": [-1, 1, 28, 28]}, "N from 1 on, and is [-1, 1, 28, 28]"),
        ({"shape": [0, 1, 28, 28]}, "N from 1 on"),
        ({"shape": [2**64, 1, 28, 28]}, "N from 1 on"),
        ({"shape": [2**31 - 1, 1, 28, 28]}, "is 1,683,627,179,248 values, and data has 784"),
        ({"shape": [1.0, 1, 28, 28]}, "shape has to be"),
        ({"shape": [True, 1, 28, 28]}, "shape has to be"),
        ({"shape": "1,1,28,28"}, "shape has to be"),
        ({"shape": [2, 1, 28, 28]}, "is 1,568 values, and data has 784"),
        ({"data": [0] * 783}, "data has 783"),
        ({"data": [0] * 783 + [256]}, "whole numbers from 0 to 255"),
        ({"data": [0] * 783 + [-1]}, "whole numbers from 0 to 255"),
        ({"data": [0] * 783 + [0.5]}, "whole numbers from 0 to 255"),
        ({"data": [0] * 783 + [True]}, "whole numbers from 0 to 255"),
        ({"data": [0] * 783 + [None]}, "whole numbers from 0 to 255"),
        ({"data": [0] * 783 + [10**30]}, "whole numbers from 0 to 255"),
        ({"data": [0] * 783 + [10**400]}, "cannot be read as JSON"),
        ({"data": [0] * 783 + [[0]]}, "whole numbers from 0 to 255"),
        ({"data": [[[[0] * 28] * 27]]}, "not nested as shape"),
        ({"data": [[[[0] * 28] * 27 + [[0] * 27]]]}, "not nested as shape"),
        ({"data": "AAAA"}, "data has to be a list"),
        ({"data": {}}, "data has to be a list"),
        ({"data": []}, "data has 0"),
        ({"parameters": 5}, "parameters has to be an object"),
        ({"parameters": {"binary_data_size": 784}}, "both data and binary_data_size"),
    ],
)
def test_a_wrong_input(server: Running, changes: dict[str, Any], words: str) -> None:
    answer = server.ask(INFER, json.dumps(question(ONE, **changes)).encode())
    assert answer.status == 400 and words in answer.error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "cannot be read as JSON"),
        (b"[]", "has to be a JSON object"),
        (b"null", "has to be a JSON object"),
        (b"{", "cannot be read as JSON"),
        (b'{"inputs": NaN}', "cannot be read as JSON"),
        (b'{"inputs": [-Infinity]}', "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[" * 100_000, "depth limit exceeded"),
        (b'{"id": ' + b"9" * 10_000 + b"}", "cannot be read as JSON"),
        (b"{}", "inputs has to be a list"),
        (b'{"inputs": []}', "inputs has to be a list"),
        (b'{"inputs": [1]}', "inputs has to be a list"),
        (b'{"inputs": [{}, {}]}', "inputs has to be a list"),
        (b'{"id": 5, "inputs": [{}]}', "id has to be a text"),
        (json.dumps(question(ONE) | {"outputs": [{"name": "digits"}]}).encode(), "outputs has to be a list of one object"),
        (
            json.dumps(question(ONE) | {"outputs": [{"name": "logits", "parameters": {"classification": 3}}]}).encode(),
            "classification is not supported",
        ),
        (
            json.dumps(question(ONE) | {"outputs": [{"name": "logits", "parameters": {"binary_data": 1}}]}).encode(),
            "binary_data has to be true or false",
        ),
        (json.dumps(question(ONE) | {"parameters": {"binary_data_output": "yes"}}).encode(), "binary_data_output has to be true or false"),
    ],
)
def test_a_wrong_document(server: Running, body: bytes, words: str) -> None:
    answer = server.ask(INFER, body)
    assert answer.status == 400 and words in answer.error


@pytest.mark.parametrize(
    ("cut", "length", "words"),
    [
        (0, "-1", "is '-1', and has to be a number of bytes from 0 to the body's"),
        (0, "999999999999999999999999", "from 0 to the body's"),
        (0, "1e2", "from 0 to the body's"),
        (0, "99999", "from 0 to the body's"),
        (0, "10", "cannot be read as JSON"),
        (1, None, "is 784 bytes, binary_data_size is 784, and 783 follow"),
        (-1, None, "and 785 follow"),
        (784, None, "and 0 follow"),
    ],
)
def test_a_length_that_lies(server: Running, cut: int, length: str | None, words: str) -> None:
    body, headers = packed(ONE)
    body = body[:-cut] if cut > 0 else body + bytes(-cut)
    if length is not None:
        headers["Inference-Header-Content-Length"] = length
    answer = server.ask(INFER, body, **headers)
    assert answer.status == 400 and words in answer.error


@pytest.mark.parametrize("size", [0, 1, 783, 785])
def test_a_raw_body_of_another_size(server: Running, size: int) -> None:
    answer = server.infer(bytes(size))
    assert answer.status == 400 and "a multiple of 784" in answer.error


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", ""),
        ("/v3", "no such path"),
        ("/v2/models/other", "no model 'other' is served here; there: lenet"),
        ("/v2/models/other/infer", "no model 'other'"),
        ("/v2/models/lenet/versions/7", "not '7'"),
        ("/v2/models/lenet/versions/7/infer", "not '7'"),
        ("/v2/models/lenet/config", "no such path"),
        ("/v2/models/..%2f..%2fetc/infer", "no model '..'"),
        ("/v2/models/../../etc/passwd", "no model '..'"),
        ("/v2/models/%E2%98%83", "no model '☃'"),
        ("/v2/models/%00", "no model"),
        ("/v2/models/" + "x" * 5000, "no model"),
        ("//v2", "no such path"),
    ],
)
def test_a_path_that_is_not_there(server: Running, path: str, words: str) -> None:
    answer = server.ask(path, method="DELETE" if path == "/" else "GET")
    if path == "/":
        assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD" and "takes GET, HEAD, not DELETE" in answer.error
    else:
        assert answer.status == 404 and words in answer.error


def test_other_methods(server: Running) -> None:
    assert server.ask(INFER, method="GET").headers["allow"] == "POST"
    assert server.ask(INFER, method="OPTIONS", Origin="http://evil.example").status == 405
    assert "access-control-allow-origin" not in server.ask("/v2", Origin="http://evil.example").headers
    head = server.ask("/v2", method="HEAD")
    assert (head.status, head.body) == (200, b"") and int(head.headers["content-length"]) > 0


def test_what_is_not_http_is_refused_as_json(server: Running) -> None:
    reply = server.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and "not an HTTP/1.1 request" in json.loads(body)["error"]


def test_requests_in_a_row_on_one_connection(server: Running, pixels: np.ndarray, logits: np.ndarray) -> None:
    """Pipelined: all sent before any is answered."""
    one = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: 0\r\nContent-Length: 784\r\n"
    sent = b"".join(f"{one}{'Connection: close' if i == 4 else 'X-A: b'}\r\n\r\n".encode() + pixels[i].tobytes() for i in range(5))
    reply = server.raw(sent)
    assert reply.count(b"HTTP/1.1 200 OK") == 5
    found = [np.frombuffer(part[part.index(b"}]}") + 3 :][:40], "<f4") for part in reply.split(b"HTTP/1.1 200 OK")[1:]]
    assert np.array_equal(np.array(found), logits)


@pytest.mark.parametrize("cut", [20, 150, 260, 500, 5000])
def test_a_client_that_offers_http2_is_answered_in_http1(server: Running, pixels: np.ndarray, logits: np.ndarray, cut: int) -> None:
    """As Java's HttpClient and `curl --http2` ask, in one piece or two; with a request behind it, and a chunked one behind that."""
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: 0\r\n"
    one = f"{head}{offer}Content-Length: 784\r\n\r\n".encode() + pixels[0].tobytes()
    two = f"{head}Content-Length: 784\r\n\r\n".encode() + pixels[1].tobytes()
    three = f"{head}{offer}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n310\r\n".encode() + pixels[2].tobytes() + b"\r\n0\r\n\r\n"
    sent = one + two + three
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(sent[:cut])
        time.sleep(0.05)
        client.sendall(sent[cut:])
        reply = read_all(client)
    assert reply.count(b"HTTP/1.1 200 OK") == 3
    found = [np.frombuffer(part[part.index(b"}]}") + 3 :][:40], "<f4") for part in reply.split(b"HTTP/1.1 200 OK")[1:]]
    assert np.array_equal(np.array(found), logits[:3])


def test_it_is_no_proxy(server: Running) -> None:
    for target in ("localhost:80", "/v2"):
        assert server.raw(f"CONNECT {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).startswith(b"HTTP/1.1 400 ")


def test_a_chunked_body(server: Running, pixels: np.ndarray, logits: np.ndarray) -> None:
    data = pixels.tobytes()
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (data[:1000], data[1000:])) + b"0\r\n\r\n"
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: 0\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    reply = server.raw(head.encode() + chunks)
    assert np.array_equal(np.frombuffer(reply[-200:], "<f4").reshape(5, 10), logits)


@pytest.mark.slow
def test_several_models_and_all_of_a_folder(serve: Callable[..., Running], pixels: np.ndarray, tmp_path: Any) -> None:
    several = serve(LENET, LENET.parent / "cnn-small")
    names = [one["name"] for one in several.ask("/v2/repository/index", b"").json()]
    assert names == ["lenet", "cnn-small"]
    for name in names:
        answer = several.ask(f"/v2/models/{name}/infer", pixels.tobytes(), Inference_Header_Content_Length="0")
        assert read_binary(answer)[0]["model_name"] == name
    assert "name one: ?model=lenet|cnn-small" in several.ask("/predict", b"x").error
    for name in ("lenet", "cnn-small"):
        (tmp_path / name).symlink_to(LENET.parent / name)
    every = serve("--all", "--models-dir", tmp_path)
    assert [one["name"] for one in every.ask("/v2/repository/index", b"").json()] == ["cnn-small", "lenet"]
