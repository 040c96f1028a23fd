"""POST /predict: any picture in, what `mnist-edge predict --json` says of it out; and the page, the document, the figures."""

import http.client
import io
import json
import os
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Command
from once import lacking
from PIL import Image
from serving_process import LENET, Running, until

from mnist_edge import Predictor
from mnist_edge.common.errors import PictureError

PHOTO = ROOT / "docs" / "photo.jpg"


def form(*files: tuple[str, bytes], end: bool = True) -> tuple[bytes, dict[str, str]]:
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n',
        *(
            b'--edge\r\nContent-Disposition: form-data; name="picture"; filename="%s"\r\nContent-Type: image/jpeg\r\n\r\n%s\r\n'
            % (name.encode(), data)
            for name, data in files
        ),
    ]
    return b"".join(parts) + (b"--edge--\r\n" if end else b""), {"Content-Type": "multipart/form-data; boundary=edge"}


def test_a_picture_is_answered_as_the_command_answers_it(server: Running, run_command: Command) -> None:
    said = json.loads(run_command("predict", PHOTO, "--model", LENET, "--json").stdout)
    body, headers = form(("photo.jpg", PHOTO.read_bytes()))
    for answer in (server.ask("/predict", PHOTO.read_bytes()), server.ask("/predict", body, **headers)):
        document = answer.json()
        assert {"model", "version"} == set(document) - set(said)
        changes = {"milliseconds": 0, "path": ""}
        assert said | changes == {key: value for key, value in document.items() if key in said} | changes
        assert document["path"] == ("-" if answer.json()["path"] == "-" else "photo.jpg")


def test_warnings_and_ink(server: Running, pixels: np.ndarray) -> None:
    buffer = io.BytesIO()
    frames = [Image.fromarray(frame).resize((140, 140)) for frame in pixels[:2, 0]]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert any("only its first picture is read" in line for line in server.ask("/predict", buffer.getvalue()).json()["warnings"])
    assert server.ask("/predict?ink=light", buffer.getvalue()).json()["ink"] == "light"


def test_a_page_is_read_as_the_command_reads_it(server: Running, pixels: np.ndarray, run_command: Command, tmp_path: Path) -> None:
    sheet = Image.new("L", (560, 300), 255)
    for i, digit in enumerate(pixels[:, 0]):
        sheet.paste(Image.fromarray(255 - digit).resize((84, 84), Image.Resampling.BICUBIC), (30 + 100 * (i % 3), 30 + 130 * (i // 3)))
    sheet.save(tmp_path / "sheet.png")
    said = json.loads(run_command("predict", tmp_path / "sheet.png", "--several", "--model", LENET, "--json").stdout)
    answer = server.ask("/predict?several=1", (tmp_path / "sheet.png").read_bytes()).json()
    assert [len(row) for row in answer["rows"]] == [3, 2]
    changes = {"milliseconds": 0, "path": ""}
    assert answer | changes == said | changes | {key: answer[key] for key in ("model", "version")}
    drawn = server.ask("/predict?several=1&explain=1", (tmp_path / "sheet.png").read_bytes())
    assert drawn.headers["content-type"] == "image/png" and Image.open(io.BytesIO(drawn.body)).width >= 560


def test_where_there_are_several_the_warning_names_the_servers_own_way(server: Running, pixels: np.ndarray) -> None:
    sheet, buffer = Image.new("L", (300, 140), 255), io.BytesIO()
    for i, digit in enumerate(pixels[:2, 0]):
        sheet.paste(Image.fromarray(255 - digit).resize((84, 84), Image.Resampling.BICUBIC), (50 + 110 * i, 28))
    sheet.save(buffer, "PNG")
    warnings = server.ask("/predict", buffer.getvalue()).json()["warnings"]
    assert warnings[0] == "more than one digit? the most central is read; ?several=1 reads all"


def test_a_page_without_a_digit_is_an_empty_answer(server: Running) -> None:
    buffer = io.BytesIO()
    Image.new("L", (300, 200), 250).save(buffer, "PNG")
    answer = server.ask("/predict?several=1", buffer.getvalue())
    assert answer.status == 200 and (answer.json()["text"], answer.json()["rows"]) == ("", [])


def test_it_explains_with_a_picture(server: Running) -> None:
    answer = server.ask("/predict?explain=1", PHOTO.read_bytes())
    assert answer.headers["content-type"] == "image/png"
    drawn = Image.open(io.BytesIO(answer.body))
    assert drawn.width > 800 and len(drawn.convert("RGB").getcolors(1 << 20) or []) > 100


def bomb() -> bytes:
    """A PNG of 13,000×13,000 pixels in some 20 kB."""
    row = bytes(1 + 13000 // 8)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = (13000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * 13000, 9)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty"),
        (b"no picture", "the picture: not a picture in a supported format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (PHOTO.read_bytes()[:5000], "the picture: "),
        (bomb(), "too many pixels (13000×13000)"),
    ],
)
def test_what_is_no_picture(server: Running, body: bytes, words: str) -> None:
    answer = server.ask("/predict", body)
    assert answer.status == 400 and words in answer.error


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (*form(), "holds none; curl -F picture=@img.png"),
        (*form(("a", b"x"), ("b", b"y")), "holds more"),
        (*form(("a", b"x"), end=False), "ends too soon"),
        (b"--other\r\n\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}, "the form is damaged"),
        (b"x", {"Content-Type": "multipart/form-data"}, "the form"),
        (b"x", {"Content-Type": f"multipart/form-data; boundary={'e' * 1000}"}, "the form is damaged"),
    ],
)
def test_a_form_that_is_wrong(server: Running, body: bytes, headers: dict[str, str], words: str) -> None:
    answer = server.ask("/predict", body, **headers)
    assert answer.status == 400 and words in answer.error


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("ink=red", 400, "ink has to be one of auto, dark, light"),
        ("explain=yes", 400, "explain has to be 0 or 1"),
        ("several=all", 400, "several has to be 0 or 1"),
        ("colour=1", 400, "unknown parameter 'colour'"),
        ("model=other", 404, "no model 'other' is served here; name one: ?model=lenet"),
    ],
)
def test_a_query_that_is_wrong(server: Running, query: str, status: int, words: str) -> None:
    answer = server.ask(f"/predict?{query}", PHOTO.read_bytes())
    assert answer.status == status and words in answer.error


@pytest.mark.slow
def test_the_limit_of_pixels(serve: Callable[..., Running]) -> None:
    small = serve(LENET, "--max-pixels", 100_000)
    answer = small.ask("/predict", PHOTO.read_bytes())
    assert answer.status == 400 and "at most 100,000 are read here" in answer.error


def test_pictures_are_never_in_the_log(server: Running) -> None:
    secret = b"a-picture-that-nobody-may-see"
    server.ask("/predict", secret * 100, X_Request_Id="private")
    line = server.log(lambda line: line["id"] == "private")
    assert line["in"] == len(secret) * 100 and secret.decode() not in "".join(server.lines) + "".join(server.errors)
    assert set(line) == {"time", "id", "client", "method", "path", "status", "ms", "in", "out", "model", "error"}


class Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [given[name] or "" for name in ("src", "href") if name in given]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in given) else []


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_need_nothing_but_this_server(server: Running, path: str) -> None:
    answer = server.ask(path)
    links = Links(answer.body.decode())
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and answer.headers["x-content-type-options"] == "nosniff"
    assert links.inline == [] and links.found
    for link in links.found:
        assert link == "data:," or server.ask(link).status == 200, link


def test_the_document_describes_every_path_that_answers(server: Running) -> None:
    document = server.ask("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    version = server.ask("/v2/models/lenet").json()["versions"][0]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answer = server.ask(path.format(model="lenet", version=version), None if method == "get" else b"x", method.upper())
            assert answer.status != 404 and answer.status != 405, path
            assert str(answer.status) in operation["responses"]
            if answer.status == 200:
                assert answer.headers["content-type"].partition(";")[0] in operation["responses"]["200"]["content"], path
            wrong = server.ask(path.format(model="lenet", version=version), method="PATCH")
            assert wrong.status == 405
    text = server.ask("/docs").body.decode()
    assert all(path.replace("{", "{") in text for path in document["paths"])
    references = [part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]]
    assert references and set(references) <= set(document["components"]["schemas"])


def figures(running: Running) -> dict[str, float]:
    lines = running.ask("/metrics").body.decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


@pytest.mark.slow
def test_the_figures_are_those_of_all_workers(serve: Callable[..., Running], pixels: np.ndarray, logits: np.ndarray) -> None:
    running = serve(LENET, "--workers", 2)
    for _ in range(20):
        assert running.infer(pixels.tobytes()).status == 200
    assert running.infer(b"x").status == running.ask("/predict", b"x").status == 400
    assert running.ask("/predict", PHOTO.read_bytes()).status == 200
    seen = until(lambda: (found := figures(running))["mnist_edge_in_flight"] == 1 and found)  # it alone: an answer is sent, then counted
    assert seen['mnist_edge_requests_total{path="infer",code="200"}'] == 20
    assert seen['mnist_edge_requests_total{path="infer",code="400"}'] == seen['mnist_edge_requests_total{path="predict",code="400"}'] == 1
    assert seen['mnist_edge_request_seconds_count{path="infer"}'] == seen['mnist_edge_request_seconds_bucket{path="infer",le="+Inf"}'] == 21
    version = running.ask("/v2/models/lenet").json()["versions"][0]
    expected = np.bincount(logits.argmax(1), minlength=10) * 20
    expected[5] += 1  # the photo
    answers = [seen[f'mnist_edge_answers_total{{model="lenet",version="{version}",digit="{digit}"}}'] for digit in range(10)]
    assert answers == expected.tolist()
    labels = f'model="lenet",version="{version}"'
    buckets = [value for name, value in seen.items() if name.startswith(f"mnist_edge_confidence_bucket{{{labels}")]
    assert buckets == sorted(buckets) and buckets[-1] == seen[f"mnist_edge_confidence_count{{{labels}}}"] == 101
    assert 0 < seen[f"mnist_edge_confidence_sum{{{labels}}}"] <= 101


def test_a_client_that_waits_on_one_connection_gets_all_its_answers(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(3):
        connection.request("POST", "/predict", PHOTO.read_bytes())
        assert json.loads(connection.getresponse().read())["digit"] == 5
    connection.close()


def test_real_pictures_are_read_as_without_a_server(server: Running) -> None:
    if "MNIST_EDGE_TEST_PICTURES" not in os.environ:
        lacking("set MNIST_EDGE_TEST_PICTURES to a folder with pictures of digits")
    folder = Path(os.environ["MNIST_EDGE_TEST_PICTURES"])
    predictor = Predictor.load(LENET)
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".png", ".jpg", ".jpeg")][:12]
    assert paths
    for path in paths:
        answer = server.ask("/predict", path.read_bytes())
        try:
            expected = predictor.predict(path)
        except PictureError:
            assert answer.status == 400, path
        else:
            assert (answer.status, answer.json()["probabilities"]) == (200, list(expected.probabilities)), path
