"""Runtimes and formats of other distributions that are broken: each is one line, and everything else works."""

import shutil
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from exporters import registry
from mnist_edge import runtimes
from mnist_edge.common import plugins
from mnist_edge.common.errors import MissingExtraError, ModelError, PluginWarning, UsageError
from mnist_edge.common.options import Option
from mnist_edge.proof import verification
from mnist_edge.runtimes import Runtime, apart
from mnist_edge.store import find

PIXELS = np.zeros((1, 1, 28, 28), np.uint8)


def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Runtime:
    (tmp_path / "brokenruntime.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "brokenruntime", raising=False)
    return Runtime("broken", "x", (), "brokenruntime", ("onnx",))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('no such library')", "x: runtime broken failed: ImportError: no such library"),
        ("import sys; sys.exit(0)", "x: runtime broken failed: SystemExit: 0"),
        ("", "has no attribute 'load'"),
        ("def load(path, threads): return None", "returned NoneType, which cannot be called"),
        ("def load(path, threads): raise OSError(2, 'No such file')", "No such file"),
        ("def load(path): return print", "TypeError"),
    ],
)
def test_a_runtime_that_does_not_load(code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError) as refused:
        broken(tmp_path, monkeypatch, code).load(Path("x"))
    assert words in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("code", ["", "def version(): return None", "def version(): return ''", "def version(): 1/0"])
def test_a_runtime_without_a_release_proves_nothing(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="^runtime broken"):
        broken(tmp_path, monkeypatch, code).version()


@pytest.mark.parametrize("told", ["None", "'AVX'", "('avx', 1)", "['two\\nlines']", "1/0"])
def test_what_a_runtime_tells_of_the_processor_can_be_read_again(told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="^runtime broken"):
        broken(tmp_path, monkeypatch, f"def processor(): return {told}").processor()


def test_a_runtime_tells_of_the_processor_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken(tmp_path, monkeypatch, "def processor(): return ['avx']").processor() == ("avx",)
    assert runtimes.get("ort").processor() == ()


def test_a_runtime_that_ends_the_program_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = broken(tmp_path, monkeypatch, "import sys\ndef load(path, threads): return lambda pixels: sys.exit(0)").load(Path("x"))
    with pytest.raises(ModelError, match="runtime broken failed: SystemExit: 0"):
        run(PIXELS)


ANSWERS = {
    "np.zeros((len(pixels), 9), np.float32)": "answered float32",
    "np.full((len(pixels), 10), np.nan, np.float32)": "NaN",
    "sys.exit(0)": "SystemExit",
    "os._exit(0)": "dies (exit code 0)",
    "os.abort()": "dies (SIGABRT)",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_verify_says_what_a_broken_runtime_does_and_goes_on(
    answer: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        f"import os, sys\nimport numpy as np\ndef version(): return 'broken 1'\ndef load(path, threads=1): return lambda pixels: {answer}"
    )
    runtime = broken(tmp_path, monkeypatch, code)
    runtimes.runtimes()  # once a process; the child finds what is written below
    monkeypatch.setitem(runtimes._registered, "broken", runtime)
    point = tmp_path / "broken-1.dist-info"
    point.mkdir()
    (point / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (point / "entry_points.txt").write_text("[mnist_edge.runtimes]\nbroken = brokendeclared:RUNTIME\n")
    (tmp_path / "brokendeclared.py").write_text(
        "from mnist_edge.runtimes import Runtime\nRUNTIME = Runtime('broken', 'x', (), 'brokenruntime', ('onnx',))"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    model = find("lenet", models)
    results = list(verification.verify_quickly(model, verification.trials(model, "all")))
    states = {(one.artifact.file, one.trial.runtime.name): one for one in results}
    assert states["lenet.onnx", "ort"].passed
    failed = states["lenet.onnx", "broken"]
    assert not failed.passed
    assert not failed.skipped
    assert ANSWERS[answer] in (failed.reason or "; ".join(failed.report.failures if failed.report is not None else ()))


def test_a_library_may_complain_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_CODE", f"import sys; sys.stderr.write({apart._ALIVE!r} + ' and it complains')")
    apart.check(runtimes.get("ort"), Path("x"), always=True)
    monkeypatch.setattr(apart, "_CODE", "import sys; sys.stderr.write('alive')")
    with pytest.raises(ModelError, match="dies"):
        apart.check(runtimes.get("ort"), Path("x"), always=True)


def test_an_error_of_any_kind_ends_one_trial_alone(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from mnist_edge.common.errors import DataError\ndef load(path, threads=1): raise DataError('no luck')"
    runtime = broken(tmp_path, monkeypatch, code)
    monkeypatch.setattr(apart, "check", lambda runtime, path: None)
    model = find("lenet", models)
    good = verification.trials(model, "ort")
    bad, *others = verification.verify_quickly(model, [good[0]._replace(runtime=runtime), *good])
    assert (bad.passed, bad.skipped, bad.reason) == (False, False, "no luck")
    assert others and all(one.passed for one in others)


def test_all_names_what_no_runtime_here_runs(models: Path) -> None:
    model = find("lenet", models)
    foreign = replace(model.artifact("ort"), file="lenet.other", format="other", runtime="gone")
    shutil.copyfile(model.folder / "lenet.onnx", model.folder / foreign.file)
    model = replace(model, manifest=replace(model.manifest, artifacts=(*model.manifest.artifacts, foreign)))
    assert [trial.runtime.name for trial in verification.trials(model, "all") if trial.artifact == foreign] == ["gone"]
    (seen,) = verification.verify_quickly(model, [trial for trial in verification.trials(model, "all") if trial.artifact == foreign])
    assert seen.skipped and "needs runtime gone" in seen.reason


def test_only_another_distributions_runtime_is_tried_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart.subprocess, "run", lambda *a, **k: pytest.fail("a process was started"))
    apart.check(runtimes.get("ort"), Path("x"))


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (Runtime("ort", "x", (), "m"), "registered twice"),
        (Runtime("all", "x", (), "m"), "stands for all"),
        (Runtime("a b", "x", (), "m"), "lowercase letters"),
        (Runtime("x", "x", (), "m", "onnx"), "formats is 'onnx'; it must be a tuple"),  # type: ignore[arg-type]
        (Runtime("x", "x", (), "m", options=(Option("my-way", "h"),)), "option 'my-way'"),
        (Runtime("x", "x", (), "m", options=(Option("a", "h", type=list),)), "has type"),
        (Runtime("x", "x", (), "m", options=(Option("a", "h"), Option("a", "h"))), "twice"),
    ],
)
def test_what_a_runtime_declares_is_looked_at(declared: Runtime, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        runtimes.register(declared)


def test_a_format_whose_runtime_is_unknown_and_a_runtime_that_raises_are_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.py").write_text("from exporters import Format\nFORMAT = Format('bad', 'x', '.bad', 'nowhere', lambda d, t: {})")
    (tmp_path / "worse.py").write_text("raise RuntimeError('two\\nlines')")
    monkeypatch.syspath_prepend(tmp_path)
    runtimes.runtimes()  # the plug-ins of runtimes are looked for once, and not among these
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [EntryPoint("bad", "bad:FORMAT", group), EntryPoint("worse", "worse:R", group)]
    )
    with pytest.warns(PluginWarning) as warned:
        plugins.register_plugins("g", registry.Format, registry.register)
    assert "unknown runtime 'nowhere'" in str(warned[0].message)
    assert "RuntimeError: two lines" in str(warned[1].message)
    assert "bad" not in registry._registered


def test_the_runtime_of_an_artifact_may_be_missing() -> None:
    absent = Runtime("gone", "", (), "")
    with pytest.raises(MissingExtraError, match="needs runtime gone, which no package"):
        absent.load(Path("x"))
