"""What runs in a forked process: tests on a copy of the tree in which one module is changed, or all tests while it is noted what runs what."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

#: The fast tests, and nothing written beside them.
ARGUMENTS = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow and not proof")

#: A mutant may ask for any amount of memory.
_MOST_MEMORY = 8 << 30


#: What the tests import and takes long.
_LIBRARIES = (
    "numpy.testing",
    "PIL.Image",
    "PIL.PngImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.WebPImagePlugin",
    "click.testing",
    "filelock",
    "rich.progress",
    "torch",
    "torch.onnx",
    "torch.jit",
    "torch.export",
    "torch.utils.data",
    "torchvision",
    "onnx.checker",
    "onnxruntime.quantization",
    "onnxruntime.transformers.float16",
    "onnxscript",
    "safetensors.torch",
    "matplotlib.figure",
    "torch.onnx._internal.exporter._core",
    "torch._dynamo",
    "multiprocessing.pool",
    "importlib.metadata",
)


class Chosen:
    """Runs tests by their names, in the order given, and keeps the first that failed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.order = {name: position for position, name in enumerate(names)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the chosen tests."""
        items[:] = sorted((item for item in items if item.nodeid in self.order), key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the first that failed."""
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep a file that could not be imported."""
        if report.failed and not self.failed:
            self.failed = report.nodeid


class Watched:
    """Notes which test runs which lines, and how long it takes."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin with a test."""
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up its parts."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.outcome != "passed":
            self.failed.add(report.nodeid)


def enter(tree: Path, shared: Path, temporary: Path, log: Path) -> None:
    """Make this process one that works in a copy of the tree: its modules, its folder, its temporary files."""
    os.setsid()
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(tree)
    here = str(Path(__file__).parent)
    sys.path[:] = [str(tree), *(place for place in sys.path if place not in (here, ""))]
    os.environ |= {"PYTHONPATH": str(tree), "TMPDIR": str(temporary), "MNIST_EDGE_TEST_SHARED": str(shared), "OMP_NUM_THREADS": "1"}
    import tempfile

    tempfile.tempdir = None


def run_chosen(names: Sequence[str], temporary: Path, result: Path) -> int:
    """Run tests until one fails. Returns pytest's exit status."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    chosen = Chosen(names)
    files = sorted({name.partition("::")[0] for name in names})
    status = pytest.main([*ARGUMENTS, "-x", f"--basetemp={temporary / 'pytest'}", *files], plugins=[chosen])
    result.write_text(chosen.failed)
    return int(status)


def run_watched(file: str, modules: Sequence[str], tree: Path, temporary: Path, result: Path) -> int:
    """Run the tests of a file, and write which of them passed, their seconds, and the lines of `modules` that each runs."""
    import coverage

    watch = coverage.Coverage(data_file=None, include=[str(tree / module) for module in modules], config_file=False)
    watch.start()
    watched = Watched(watch)
    status = pytest.main([*ARGUMENTS, f"--basetemp={temporary / 'pytest'}", file], plugins=[watched])
    watch.stop()
    data = watch.get_data()
    lines: dict[str, dict[str, list[str]]] = {}
    for module in modules:
        contexts = data.contexts_by_lineno(str(tree / module))
        lines[module] = {str(line): sorted(set(names) - watched.failed) for line, names in contexts.items()}
    seconds = {name: round(spent, 3) for name, spent in watched.seconds.items() if name not in watched.failed}
    result.write_text(json.dumps({"status": int(status), "failed": sorted(watched.failed), "seconds": seconds, "lines": lines}))
    return int(status)


def load_libraries() -> None:
    """Import what the tests need and nothing of the project, once for all processes that are forked from this one."""
    os.environ |= {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1", "MPLBACKEND": "agg"}
    for name in _LIBRARIES:
        with suppress(ImportError):
            __import__(name)
