"""Fixtures on real parts: real MNIST where it is, small trainings done once a run, the command."""

import contextlib
import copy
import functools
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import checkout
import in_process
import numpy as np
import pytest
import torch
from once import lacking, once, unchanged
from PIL import Image

from exporters import Calibration
from mnist_edge import store
from mnist_edge.architectures import allow
from mnist_edge.architectures.recipe import Recipe
from mnist_edge.common import trust
from mnist_edge.dataset import Dataset, describe, drawn, load
from mnist_edge.dataset.sources import find_mnist
from mnist_edge.report import figures, write
from mnist_edge.report.findings import Findings, read_history
from mnist_edge.store.marks import marked_png
from mnist_edge.training import result
from mnist_edge.training.loop import Epoch
from mnist_edge.training.run import Run, train
from mnist_edge.training.settings import Settings

ROOT = Path(__file__).resolve().parents[1]

COMMAND = Path(sys.executable).with_name("mnist-edge")

#: The variables of ours that commands in tests get from the tests' own environment.
KEPT_VARIABLES = ("MNIST_EDGE_DATA_DIR", "MNIST_EDGE_PROOFS_DIR")

Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure(config: pytest.Config) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # some tests crash a process on purpose
    if config.getoption("numprocesses", None):  # the workers share the cores; they and what they start inherit this
        os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def pytest_sessionstart(session: pytest.Session) -> None:
    os.environ["MNIST_EDGE_PROOFS_DIR"] = os.devnull  # what the user proved shall not count here; a test that keeps a proof names a folder
    checkout.remember(session.config)
    checkout.protect()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if checkout.changes(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for change in checkout.changes(config):
        terminalreporter.write_line(f"FAILED the checkout changed while the tests ran: {change}", red=True)


@pytest.fixture(autouse=True)
def _networks_are_forgotten() -> Iterator[None]:
    """Forget what a test allowed, but for the networks in this folder."""
    yield
    here = Path(__file__).parent
    for path in trust.allowed():
        module = path.partition(":")[0]
        if not (here / f"{module}.py").exists():
            trust._allowed.discard(path)
            sys.modules.pop(module, None)


@pytest.fixture(autouse=True)
def _threads_are_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _drawn_once() -> Iterator[None]:
    """Keep what was drawn: commands with ``--data drawn`` draw the same 10,000 digits, which takes over a second."""
    kept = functools.lru_cache(maxsize=20)(drawn.draw)

    @functools.wraps(drawn.draw)
    def draw(split: str, count: int | None = None, seed: int | None = None, hands: drawn.Hands = "few") -> Dataset:
        data = kept(split, count, seed, hands)
        return replace(data, images=data.images.copy(), labels=data.labels.copy())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "draw", draw)
        yield


@pytest.fixture(scope="session", autouse=True)
def _torchlib_read_once() -> Iterator[None]:
    """Keep what `torch.onnx.export` makes of its own 500 functions: it reads their sources anew for each file, half of the time that an export takes."""
    with pytest.MonkeyPatch.context() as patch:
        with contextlib.suppress(ImportError, AttributeError):  # private names: in a release that has others, exports only take longer
            _keep_torchlib(patch)
        yield


def _keep_torchlib(patch: pytest.MonkeyPatch) -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry, onnxscript_apis

    read, all_opsets = functools.cache(ONNXRegistry.from_torchlib), functools.cache(onnxscript_apis.get_torchlib_ops)

    def from_torchlib(*opset: Any, **opset_version: Any) -> ONNXRegistry:
        registry = copy.copy(read(*opset, **opset_version))
        registry.functions = {name: [*functions] for name, functions in registry.functions.items()}
        return registry

    patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(from_torchlib))
    patch.setattr(onnxscript_apis, "get_torchlib_ops", all_opsets)


class Silent:
    """A listener that hears nothing."""

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        pass

    def on_epoch(self, epoch: Epoch) -> None:
        pass


def settings_for(data: Dataset, architecture: str = "lenet", **changes: object) -> Settings:
    values: dict[str, object] = {
        "architecture": architecture,
        "arguments": {},
        "recipe": Recipe(epochs=1, batch_size=64),
        "seed": 0,
        "device": "cpu",
        "threads": 1,
        "data": describe(data),
        "licence": "MIT",
    }
    return Settings(**(values | changes))  # type: ignore[arg-type]


def train_small(
    models_dir: Path, architecture: str = "lenet", *, data: Dataset, test: Dataset, name: str = "", curves: bool = False, **changes: object
) -> store.Model:
    """Train as the command does; without `curves` the picture of them is an empty one, for to draw it takes longer than such a training."""
    if ":" in architecture:
        allow(architecture)
    settings = settings_for(data, architecture, **changes)
    with Run(models_dir, name or architecture) as run, pytest.MonkeyPatch.context() as patch:
        if not curves:
            patch.setattr(result, "_draw_curves", lambda history, name, path: path.write_bytes(marked_png(Image.new("P", (8, 8)))))
        run.start(settings)
        return train(run, settings, data, test, Silent()).model


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with MNIST. Without it a test is skipped, or fails where it must run."""
    raw = find_mnist().raw_dir
    if raw is None:
        lacking("MNIST is not on this machine; set MNIST_EDGE_DATA_DIR")
    return raw.parent.parent if raw.name == "raw" else raw


@pytest.fixture(scope="session")
def mnist_test(mnist_dir: Path) -> Dataset:
    return load("mnist", "test", mnist_dir)


@pytest.fixture(scope="session")
def drawn_train() -> Dataset:
    return drawn.draw("train", 1200)


@pytest.fixture(scope="session")
def drawn_test() -> Dataset:
    return drawn.draw("test", 1000)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, drawn_train: Dataset, drawn_test: Dataset) -> Iterator[Path]:
    """A models folder with one small LeNet and both artifacts. Do not change it; `models` is a copy."""

    def make(folder: Path) -> None:
        from exporters import gate

        model = train_small(folder / "models", data=drawn_train, test=drawn_test, recipe=Recipe(epochs=3, batch_size=64), curves=True)
        for name in ("onnx", "torchscript"):
            model, proof = gate.export(model, name, drawn_test)
            assert proof.artifact is not None

    folder = once(tmp_path_factory, "trained", make) / "models"
    with unchanged(folder):
        yield folder


LOWER = ("fp16", "int8-dynamic", "int8-static")


@pytest.fixture(scope="session")
def reduced(trained: Path, tmp_path_factory: pytest.TempPathFactory, drawn_train: Dataset, drawn_test: Dataset) -> Iterator[store.Model]:
    """The small LeNet with every precision. Do not change it.

    Three epochs on 1,200 images leave it unsure, so the budget is wider than a user's.
    """

    def make(folder: Path) -> None:
        from exporters import gate

        shutil.copytree(trained, folder / "models")
        model = store.find("lenet", folder / "models")
        for precision in LOWER:
            images = Calibration.draw(drawn_train, 100) if precision == "int8-static" else None
            model, proof = gate.export(model, "onnx", drawn_test, precision=precision, calibration=images, max_accuracy_drop=0.02)
            assert proof.artifact is not None, proof.report.failures

    folder = once(tmp_path_factory, "reduced", make) / "models"
    with unchanged(folder):
        yield store.find("lenet", folder)


class Quantized(NamedTuple):
    """The reference LeNet, and what the command printed while it was quantized: a document or a text by ``--quantize``."""

    folder: Path
    printed: dict[str, str]


@pytest.fixture(scope="session")
def quantized(tmp_path_factory: pytest.TempPathFactory, mnist_dir: Path) -> Iterator[Quantized]:
    """The reference LeNet in every precision, proven on all of MNIST within the budget that a user gets. Do not change it."""

    def make(folder: Path) -> None:
        shutil.copytree(ROOT / "models" / "lenet", folder / "models" / "lenet")
        place = ("--models-dir", folder / "models", "--data-dir", mnist_dir)
        printed = {}
        for how, form in (("fp16", ()), ("dynamic", ()), ("static", ("--json",))):
            printed[how] = command(folder, "export", "lenet", "--format", "onnx", "--quantize", how, *place, *form).stdout
        (folder / "printed.json").write_text(json.dumps(printed))

    folder = once(tmp_path_factory, "quantized", make)
    with unchanged(folder):
        yield Quantized(folder / "models" / "lenet", json.loads((folder / "printed.json").read_text()))


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    """A models folder of the test's own, with the small LeNet in it."""
    return Path(shutil.copytree(trained, tmp_path / "models"))


def command(
    folder: Path,
    *arguments: str | Path,
    env: dict[str, str] | None = None,
    check: int | None = 0,
    process: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MNIST_EDGE_") or k in KEPT_VARIABLES} | (env or {})
    options = {"cwd": folder, "text": True, "timeout": 300} | options
    words = list(map(str, arguments))
    if process or not in_process.is_possible(environment, options):
        options = {"capture_output": True} | options
        done = subprocess.run([COMMAND, *words], check=False, env=environment, **options)
    else:
        done = in_process.run(words, environment, **options)
    for fault in ("Traceback", "internal error"):
        assert (fault if options["text"] else fault.encode()) not in done.stderr, done.stderr
    if check is not None:
        assert done.returncode == check, (arguments, done.returncode, done.stdout, done.stderr)
    return done


@pytest.fixture
def run_command(tmp_path: Path) -> Command:
    """Run the command in an empty folder and return what it printed.

    It runs in this process; with options of `subprocess.run` or an environment that only another process can have, in one of its own.
    """
    return functools.partial(command, tmp_path)


@pytest.fixture
def run_process(tmp_path: Path) -> Command:
    """Run the installed command in an empty folder, in a process of its own: where its start, its end or its streams are tested."""
    return functools.partial(command, tmp_path, process=True)


@pytest.fixture
def seven() -> np.ndarray:
    """A drawn picture, uint8 28×28."""
    data = drawn.draw("test", 50)
    return data.images[int(np.argmax(data.labels == 7)), 0]


@pytest.fixture
def picture(tmp_path: Path, seven: np.ndarray) -> Path:
    path = tmp_path / "img.png"
    Image.fromarray(seven).save(path)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MNIST_EDGE_")}
    return subprocess.Popen(
        [COMMAND, *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C, and so would this
    )


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with one figure: where their place is tried and not their pictures, which take seconds to draw."""
    monkeypatch.setattr(write, "FIGURES", {"samples": figures.samples})


@pytest.fixture
def found(models: Path, drawn_test: Dataset) -> Findings:
    model = store.find("lenet", models)
    reference = model.manifest.reference_on(describe(drawn_test)["sha256"])
    assert reference is not None
    return Findings(model, drawn_test, store.read_reference(model, reference), read_history(model))


def answering(found: Findings, answers: list[int], confidences: list[float]) -> Findings:
    """Findings of which the first images are answered so, and so surely; there are no more images."""
    logits = np.zeros((len(answers), 10), np.float32)
    for row, (answer, confidence) in enumerate(zip(answers, confidences, strict=True)):
        logits[row] = np.log((1 - confidence) / 9)
        logits[row, answer] = np.log(confidence)
    return replace(found, data=found.data.first(len(answers)), logits=logits)
