"""A model that somebody sends runs no code: not its manifest's network, nor a module that lies beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND
from PIL import Image

from mnist_edge import Predictor, architectures, store
from mnist_edge.architectures import build, find
from mnist_edge.cli import cli
from mnist_edge.cli.common import Output
from mnist_edge.common import trust
from mnist_edge.common.errors import MissingExtraError, ModelError, NotAllowedError, UnknownNameError, UsageError
from mnist_edge.common.extras import require
from mnist_edge.image import pipeline
from mnist_edge.report.origin import origin
from mnist_edge.store.manifest import Manifest

#: A module that tells when it is imported, with a network that fits LeNet's weights.
EVIL = """
from pathlib import Path
Path({ran!r}).touch()
from mnist_edge.architectures.lenet import LeNet
class Net(LeNet):
    pass
"""


class Stranger:
    """A model's folder that somebody sent, unpacked in the working folder, with modules of theirs."""

    def __init__(self, models: Path, here: Path) -> None:
        self.here, self.folder, self.ran = here, models / "lenet", here / "ran"
        code = EVIL.format(ran=str(self.ran))
        for path in ("evilmod.py", "evilpkg/__init__.py", "evilpkg/deep.py", "models/evilmod.py", "models/lenet/evilmod.py"):
            (here / path).parent.mkdir(parents=True, exist_ok=True)
            (here / path).write_text(code)

    def name(self, architecture: object) -> None:
        """Let the manifest name a network, with a hash that is right."""
        replace(Manifest.read(self.folder), architecture=architecture).write(self.folder)  # type: ignore[arg-type]


@pytest.fixture
def stranger(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    monkeypatch.chdir(tmp_path)
    modules, path = set(sys.modules), list(sys.path)
    with trust.allowing():
        yield Stranger(models, tmp_path)
    assert sys.path == path, "the working folder stayed on the module path"
    for module in set(sys.modules) - modules:
        if module.startswith("evil") or module == "mine":
            del sys.modules[module]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it printed."""
    with pytest.raises(SystemExit) as end:
        cli.main(args=[str(a) for a in arguments])
    printed = capsys.readouterr()
    assert "internal error" not in printed.err
    assert end.value.code is not None
    return int(end.value.code), printed.out, printed.err


#: What a manifest may say; each would import something, or tries to.
NAMES = (
    "evilmod:Net",
    "evilpkg.deep:Net",
    "evilpkg:Net",
    "./evilmod:Net",
    "evilmod:Net:x",
    ".evilmod:Net",
    "evilmod",
    "os:system",
    "",
    ":",
)


@pytest.mark.parametrize("architecture", NAMES)
def test_no_command_imports_what_a_manifest_names(
    stranger: Stranger, picture: Path, capsys: pytest.CaptureFixture[str], architecture: str
) -> None:
    stranger.name(architecture)
    for model in ("lenet", stranger.folder, stranger.folder / "lenet.onnx"):
        code, _, err = run(capsys, "predict", picture, "--model", model)
        assert code == 0, err
    code, _, err = run(capsys, "predict", picture, "--model", "lenet", "--runtime", "torch")
    assert (code, "network" in err) == (2, True), err
    assert run(capsys, "evaluate", "lenet", "--runtime", "torch", "--data", "drawn")[0] == 2
    for command in (("verify", "lenet", "--quick"), ("show", "lenet"), ("list",)):
        code, _, err = run(capsys, *command)
        assert code == 0, err
    origin(store.find("lenet"))
    assert not stranger.ran.exists()


def test_the_refusal_names_model_network_danger_and_option(stranger: Stranger, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger.name("evilmod:Net")
    os.chdir(stranger.folder)  # where evilmod.py lies beside the manifest
    for command in (("predict", picture, "--model", ".", "--runtime", "torch"), ("export", ".", "--format", "onnx", "--data", "drawn")):
        code, _, err = run(capsys, *command)
        assert code == 2
        assert err.splitlines()[-1].startswith("error: .: network evilmod:Net is not part of mnist-edge")
        assert "runs the code of evilmod" in err
        assert "add: --allow-network evilmod:Net" in err
    assert not stranger.ran.exists()


def test_an_allowed_network_runs_and_nothing_is_allowed_beyond_the_command(
    stranger: Stranger, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger.name("evilmod:Net")
    expected = json.loads(run(capsys, "predict", picture, "--model", "lenet", "--json")[1])["probabilities"]
    once = ("predict", picture, "--model", "lenet", "--runtime", "torch", "--json")
    code, out, err = run(capsys, *once, "--allow-network", "evilmod:Net")
    assert code == 0, err
    np.testing.assert_allclose(json.loads(out)["probabilities"], expected, atol=1e-4)
    assert stranger.ran.exists()
    assert run(capsys, *once)[0] == 2
    assert run(capsys, *once, "--allow-network", "evilmod:Other")[0] == 2
    code, _, err = run(capsys, *once, "--allow-network", "evilmod")
    assert code == 2
    assert "'evilmod' is not package.module:Class" in err


def test_every_command_that_may_build_a_network_takes_the_option_and_the_environment(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], picture: Path
) -> None:
    for command in ("predict", "evaluate", "export", "verify", "benchmark"):
        assert "--allow-network" in run(capsys, command, "--help")[1]
    stranger.name("evilmod:Net")
    monkeypatch.setenv("MNIST_EDGE_ALLOW_NETWORK", "other:Net evilmod:Net")
    assert run(capsys, "predict", picture, "--model", "lenet", "--runtime", "torch")[0] == 0
    assert run(capsys, "export", "lenet", "--format", "torchscript", "--help")[0] == 0


def test_in_python_a_network_is_allowed_by_name(stranger: Stranger, seven: np.ndarray) -> None:
    stranger.name("evilmod:Net")
    with pytest.raises(NotAllowedError, match=r"architectures\.allow\('evilmod:Net'\)"):
        Predictor.load("lenet", "torch")
    assert not stranger.ran.exists()
    architectures.allow("evilmod:Net")
    answer = Predictor.load("lenet", "torch").predict(seven)
    assert answer.digit == Predictor.load("lenet").predict(seven).digit


@pytest.mark.slow
def test_a_benchmark_leaves_a_strangers_network_out_and_passes_on_what_is_allowed(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_edge.benchmark import measure

    stranger.name("evilmod:Net")
    model = store.find("lenet")
    monkeypatch.setattr(measure, "SECONDS", 0.01)
    monkeypatch.setattr(store.Model, "artifacts", ())
    with pytest.raises(ModelError, match="weights.safetensors in torch: network evilmod:Net .* --allow-network evilmod:Net"):
        measure.benchmark(model, rounds=1)
    assert not stranger.ran.exists()
    trust.allow("evilmod:Net")
    rows, left_out = measure.benchmark(model, rounds=1)
    assert [row.runtime for row in rows] == ["torch"]
    assert not left_out
    assert stranger.ran.exists()


def test_verify_completes_no_proof_by_a_strangers_network(stranger: Stranger, mnist_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mnist_edge.cli.verify import _completed

    stranger.name("evilmod:Net")
    model = store.find("lenet")
    assert _completed(model, mnist_dir, Output(False)) is model
    err = capsys.readouterr().err
    assert "only its answers to drawn digits count" in err
    assert "--allow-network evilmod:Net" in err
    assert not stranger.ran.exists()


def test_what_is_typed_to_train_is_allowed_and_the_next_lines_can_be_pasted(stranger: Stranger, capsys: pytest.CaptureFixture[str]) -> None:
    (stranger.here / "mine.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n"
        "    def __init__(self, wide=False):\n        super().__init__(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    code, _, err = run(capsys, "architectures", "mine:Net", "--set", "wide=true")
    assert code == 0, err
    assert err.splitlines()[-1] == "next: mnist-edge train mine:Net --set wide=true"
    code, _, err = run(capsys, "train", "mine:Net", "--data", "drawn", "--train-images", "240", "--epochs", "1", "--set", "wide=true")
    assert code == 0, err
    assert err.splitlines()[-1] == "next: mnist-edge export net --format onnx --allow-network mine:Net"
    with pytest.raises(NotAllowedError):
        build("mine:Net")
    model = store.find("net")
    assert model.export_command() == "mnist-edge export models/net --format onnx --allow-network mine:Net"
    assert origin(model).command.startswith("mnist-edge train mine:Net --name net --set wide=true --epochs 1 --data drawn")
    assert run(capsys, "show", "net")[2].splitlines()[-1] == "next: mnist-edge export models/net --format onnx --allow-network mine:Net"


@pytest.mark.parametrize("name", [None, 5, ["lenet"], "", "a\x1b[31mb", "a\nb:C", "lenet:", ":Net", "a b:Net", "a/b:Net"])
def test_a_name_that_is_none_is_one_line(name: object) -> None:
    with pytest.raises(UsageError) as caught:
        find(name)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()


def test_terminal_codes_of_a_manifest_do_not_reach_the_terminal(stranger: Stranger, capsys: pytest.CaptureFixture[str]) -> None:
    stranger.name("evil\x1b]0;title\x07\x9b31m")
    for command in (("show", "lenet"), ("list",), ("show", "lenet", "--json"), ("evaluate", "lenet", "--runtime", "torch")):
        _, out, err = run(capsys, *command)
        assert not {"\x1b", "\x07", "\x9b"} & set(out + err)
    assert "evil" in out + err
    assert json.loads(run(capsys, "show", "lenet", "--json")[1])["architecture"] == "evil\x1b]0;title\x07\x9b31m"


def test_a_page_shows_what_a_manifest_says_as_text(found: object) -> None:
    from mnist_edge.report import page
    from mnist_edge.report.origin import Origin

    evil = "<script>alert(1)</script>"
    model = found.model  # type: ignore[attr-defined]
    manifest = replace(model.manifest, architecture=evil, licence=evil, weights=replace(model.manifest.weights, sha256=evil))
    changed = replace(found, model=replace(model, manifest=manifest))  # type: ignore[type-var]
    assert "<script" not in page.page(changed, Origin(evil, None, evil, False), {})


def hostile(folder: Path, *modules: str) -> Path:
    """Put modules of these names into a folder, which tell when they are imported."""
    ran = folder / "ran"
    for module in modules:
        (folder / f"{module}.py").write_text(f"open({str(ran)!r}, 'a').close()\nraise SystemExit(1)\n")
    return ran


def test_python_m_takes_no_library_from_the_working_folder(tmp_path: Path) -> None:
    ran = hostile(tmp_path, "click", "numpy", "exporters")  # what Python itself imports first, nobody can keep out
    done = subprocess.run([sys.executable, "-m", "mnist_edge", "formats"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not ran.exists()


def test_processes_that_read_pictures_take_no_library_from_the_working_folder(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = hostile(tmp_path, "multiprocessing", "concurrent", "socket", "numpy", "PIL")
    for name in range(pipeline.MANY):
        Image.open(picture).save(tmp_path / f"{name}.png")
    code = (
        "import sys; sys.path.pop(0)\nif __name__ == '__main__':\n"
        " from mnist_edge.image import pipeline\n pipeline._is_single_threaded = lambda: False\n"
        f" assert all(read.prepared for read in pipeline.read_all([pipeline.Source(f'{{i}}.png') for i in range({pipeline.MANY})], processes=2))\n"
    )
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(code)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not ran.exists()


def test_a_matplotlibrc_does_not_reach_a_report(found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    from mnist_edge.report.figures import curves

    history = found.history  # type: ignore[attr-defined]
    before = curves(history, "lenet")
    with matplotlib.rc_context({"text.usetex": True, "font.family": "monospace", "lines.linestyle": "--"}):
        assert curves(history, "lenet") == before


def test_the_advice_names_a_format_of_the_runtime(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proving import verify_quickly

    from mnist_edge import runtimes

    model = store.find("lenet", models)
    monkeypatch.setattr(store.Model, "artifacts", ())
    for runtime, format_name in (("ort", "onnx"), ("torchscript", "torchscript")):
        for ask in (lambda runtime: runtimes.get(runtime).choose(model), lambda runtime: verify_quickly(model, runtime)):
            with pytest.raises(ModelError, match=f"mnist-edge export {models}/lenet --format {format_name}$"):
                ask(runtime)
    with pytest.raises(UsageError, match="takes the weights"):
        verify_quickly(model, "torch")
    with pytest.raises(UnknownNameError):
        verify_quickly(model, "tensorrt")


def test_what_is_missing_is_named_with_the_line_that_installs_it(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="^runtime ort needs onnxruntime, which is not installed; run: pip install onnxruntime$"):
        Predictor.load("lenet", models_dir=models)
    with pytest.raises(MissingExtraError, match="^x needs no_one and no_two, which are not installed; run: pip install it$"):
        require("x", "no_one", "no_two", install="pip install it")
    with pytest.raises(MissingExtraError, match=r"^x needs no_one, no_two and no_three, which are not installed; run: .*\[train\]'$"):
        require("x", "no_one", "sys", "no_two", "no_three")


def test_the_installed_command_in_a_folder_of_a_stranger(stranger: Stranger, picture: Path) -> None:
    """The whole way, in a process of its own, in the model's folder."""
    stranger.name("evilmod:Net")
    hostile(stranger.folder, "numpy", "onnxruntime", "click")
    done = subprocess.run(
        [COMMAND, "predict", picture, "--model", "."], cwd=stranger.folder, capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert done.returncode == 0, done.stderr
    assert not stranger.ran.exists()
    assert not (stranger.folder / "ran").exists()
