"""Format web and the page's network under node: the bytes, the hashes, the self-test, and the logits of onnxruntime."""

import base64
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pages
import pytest
from once import once, unchanged

from mnist_edge.common.errors import ExportError, ModelError
from mnist_edge.common.trees import read_tree
from mnist_edge.dataset import Dataset
from mnist_edge.proof.golden import Golden
from mnist_edge.runtimes import RUNTIMES, wasm, wasm_build

pytestmark = pytest.mark.slow

NETWORK = Path(__file__).with_name("network.mjs")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = once(tmp_path_factory, "page-int8", lambda folder: pages.write(folder / "lenet.web"))
    with unchanged(folder):
        yield folder / "lenet.web"


@pytest.fixture
def copy(page: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(page, tmp_path / "lenet.web"))


def said(folder: Path, scratch: Path, *more: str | Path) -> str:
    return pages.run(NETWORK, pages.as_module(scratch), folder, *more).strip()


def test_the_same_artifact_gives_the_same_bytes(page: Path, tmp_path: Path) -> None:
    assert read_tree(pages.write(tmp_path / "again")) == read_tree(page)


def test_all_of_it_is_small(page: Path) -> None:
    assert sum(len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in page.iterdir()) <= 90_000


def test_the_page_asks_nobody_else(page: Path) -> None:
    """No address but those of the SVG name space, which is no request."""
    for name in ("index.html", "page.js", "page.css"):
        addresses = re.findall(
            r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"^\s*//.*$", "", (page / name).read_text("utf-8"), flags=re.MULTILINE)
        )
        assert [one for one in addresses if "www.w3.org" not in one] == [], name
    assert "unsafe-inline" not in (page / "index.html").read_text() and "<style" not in (page / "index.html").read_text()


@pytest.mark.proof
@pytest.mark.parametrize("precision", ["int8-static", "float32"])
def test_all_test_images(precision: str, mnist_test: Dataset, tmp_path: Path) -> None:
    """int8 gives onnxruntime's very logits; float32 those of the C, bit for bit, and within 0.0001 of PyTorch's."""
    folder = pages.write(tmp_path / "page", precision)
    (tmp_path / "images").write_bytes(mnist_test.images.tobytes())
    page = np.frombuffer(base64.b64decode(said(folder, tmp_path, tmp_path / "images")), "<f4").reshape(-1, 10)
    in_wasmtime = wasm.load(folder)(mnist_test.images)
    assert page.tobytes() == in_wasmtime.tobytes()
    ort = RUNTIMES["ort"].load(pages.LENET.folder / pages.SOURCES[precision])(mnist_test.images)
    if precision == "int8-static":
        assert page.tobytes() == ort.tobytes()
    assert np.abs(page - ort).max() < 1e-4 and (page.argmax(1) == ort.argmax(1)).all()


def test_the_hashes_are_those_of_everybody(page: Path, tmp_path: Path) -> None:
    lines = said(page, tmp_path, "hash").splitlines()
    module = (page / "model.wasm").read_bytes()
    expected = [hashlib.sha256(module[:length]).hexdigest() for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000)]
    assert [line.split() for line in lines] == [[one, one] for one in expected]


def test_the_self_test_passes(page: Path, tmp_path: Path) -> None:
    assert said(page, tmp_path) == "passed"


def _flip(folder: Path, name: str, at: int) -> None:
    content = bytearray((folder / name).read_bytes())
    content[at] ^= 1
    (folder / name).write_bytes(content)


def _rehash(folder: Path) -> None:
    about = json.loads((folder / "model.json").read_text())
    about["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in about["sha256"]}
    (folder / "model.json").write_text(json.dumps(about))


def _damage_module(folder: Path) -> None:
    _flip(folder, "model.wasm", -1000)


def _damage_golden(folder: Path) -> None:
    _flip(folder, "golden.bin", 4000)


def _another_answer(folder: Path) -> None:
    """PyTorch's logits of the first input are turned round."""
    content = bytearray((folder / "golden.bin").read_bytes())
    logits = np.frombuffer(content, "<f4", 10, 784 * 40).copy()
    content[784 * 40 : 784 * 40 + 40] = (-logits).tobytes()
    (folder / "golden.bin").write_bytes(content)
    _rehash(folder)


def _far_away(folder: Path) -> None:
    content = bytearray((folder / "golden.bin").read_bytes())
    logits = np.frombuffer(content, "<f4", 10, 784 * 40).copy()
    logits[logits.argmax()] += 100
    content[784 * 40 : 784 * 40 + 40] = logits.tobytes()
    (folder / "golden.bin").write_bytes(content)
    _rehash(folder)


def _another_bit(folder: Path) -> None:
    """The last bit of a logit that the module gave."""
    _flip(folder, "golden.bin", 784 * 40 + 1600 + 4 * 25)
    _rehash(folder)


def _cut(folder: Path) -> None:
    (folder / "golden.bin").write_bytes((folder / "golden.bin").read_bytes()[:-4])
    _rehash(folder)


def _no_module(folder: Path) -> None:
    (folder / "model.wasm").write_bytes(b"no module")
    _rehash(folder)


def _another_network(folder: Path) -> None:
    """A weight is another, and the hashes were made to fit: only the self-test notices."""
    module = bytearray((folder / "model.wasm").read_bytes())
    for at in range(20_000, 60_000):
        module[at] ^= 0x40
    (folder / "model.wasm").write_bytes(module)
    _rehash(folder)


@pytest.mark.parametrize(
    ("breaking", "reason"),
    [
        (_damage_module, r"model\.wasm is not the file that was proven: its SHA-256 is \w{12}… and not \w{12}…\."),
        (_damage_golden, r"golden\.bin is not the file that was proven"),
        (_another_answer, r"Self-test failed: on golden input 1 of 40 the network answers \d, and PyTorch \d\."),
        (_far_away, r"Self-test failed: on golden input 1 of 40 the network is 1\.0e\+2 away from PyTorch; at most \S+ is allowed\."),
        (_another_bit, r"Self-test failed: on golden input 3 of 40 the network does not give the bits that it gave where it was proven\."),
        (_cut, r"Self-test failed: golden\.bin has the wrong length\."),
        (_no_module, r"This browser does not run the network: WebAssembly is blocked here, or too old"),
        (_another_network, r"Self-test failed: on golden input \d+ of 40 the network (answers|is)"),
    ],
)
def test_it_refuses_to_answer(breaking: Callable[[Path], None], reason: str, copy: Path, tmp_path: Path) -> None:
    breaking(copy)
    assert re.match(reason, said(copy, tmp_path))


def test_without_webassembly_it_says_so(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_WEBASSEMBLY", "1")
    assert said(page, tmp_path) == "This browser has no WebAssembly, or its settings block it."


def test_a_module_that_answers_wrongly_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that miscompiles: its module is another network's."""
    monkeypatch.setattr(wasm_build, "_GLUE", wasm_build._GLUE.replace("_logits(image,", "_logits(image + 1,"))
    with pytest.raises(ExportError, match="does not answer the golden inputs as PyTorch did"):
        pages.write(tmp_path / "page", "float32")
    assert not (tmp_path / "page").exists()


def test_the_golden_inputs_are_the_models(page: Path) -> None:
    golden = Golden.read(pages.LENET.path(pages.LENET.manifest.golden))
    content = (page / "golden.bin").read_bytes()
    count = json.loads((page / "model.json").read_text())["golden"]["inputs"]
    assert content[: 784 * count] == golden.pixels.tobytes()
    assert content[784 * count : -40 * count] == golden.logits.tobytes()
    assert content[-40 * count :] == RUNTIMES["ort"].load(pages.LENET.folder / pages.SOURCES["int8-static"])(golden.pixels).tobytes()


def test_the_runtime_refuses_a_damaged_module(copy: Path) -> None:
    (copy / "model.wasm").write_bytes((copy / "model.wasm").read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"lenet\.web: wasmtime \S+ cannot load its module"):
        wasm.load(copy)
