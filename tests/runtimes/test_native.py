"""Runtime native: which compiler it takes, what it says without one, what a broken one does, and what it keeps."""

import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import c_code
import numpy as np
import pytest
from conftest import COMMAND, Command
from once import once, unchanged

from mnist_edge import runtimes, store
from mnist_edge.common.errors import MissingExtraError, ModelError
from mnist_edge.dataset import drawn
from mnist_edge.runtimes import native

#: A compiler that turns the sign of the first weight that it sees.
_BROKEN = """\
#!{python}
import re, subprocess, sys, pathlib
arguments = sys.argv[1:]
if "--version" not in arguments:
    source = max(at for at, one in enumerate(arguments) if one.endswith(".c"))
    quotes = [one for at in range(len(arguments)) if arguments[at] == "-iquote" for one in arguments[at:at + 2]]
    code = subprocess.run(["gcc", "-E", *quotes, *[one for one in arguments if one.startswith("-m")], arguments[source]],
                          capture_output=True, text=True, check=True).stdout
    code, changed = re.subn(r"(_filters\\[\\d+\\] = \\{{\\s*)(-?)", lambda m: m[1] + ("" if m[2] else "-"), code, count=1)
    assert changed
    twisted = pathlib.Path(arguments[source]).with_suffix(".i")
    twisted.write_text(code)
    arguments[source] = str(twisted)
sys.exit(subprocess.run(["gcc", *arguments]).returncode)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; returns where libraries are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path / "cache" / "mnist-edge" / "native"


@pytest.fixture(scope="module")
def published(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[store.Model]:
    """The small LeNet, with its C. Do not change it."""

    def make(folder: Path) -> None:
        from exporters import gate

        shutil.copytree(trained, folder / "models")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            _, outcome = gate.export(store.find("lenet", folder / "models"), "c", drawn.draw("test"), options={"target": ("none",)})
        assert outcome.artifact is not None, outcome.report.failures

    folder = once(tmp_path_factory, "published-c", make) / "models"
    with unchanged(folder):
        yield store.find("lenet", folder)


@pytest.fixture(scope="module")
def folder(published: store.Model) -> Path:
    return published.folder / "lenet.c"


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def broken(tmp_path: Path) -> str:
    return script(tmp_path / "broken-cc", textwrap.dedent(_BROKEN).format(python=sys.executable))


def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *programs: str) -> None:
    """Leave nothing on the path but these programs."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found
        (bin_ / program).symlink_to(found)
    monkeypatch.setenv("PATH", str(bin_))
    monkeypatch.setattr(native, "is_installed", lambda name: False)


# which compiler


def test_it_answers_as_the_onnx_file_does(folder: Path, published: store.Model, cache: Path) -> None:
    pixels = c_code.pictures()
    onnx = runtimes.get("ort").load(published.folder / "lenet.onnx")(pixels)
    assert np.abs(runtimes.get("native").load(folder)(pixels) - onnx).max() < 1e-4


def test_without_a_compiler_it_says_what_to_install(folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path)
    with pytest.raises(MissingExtraError, match=r"native.*C compiler.*pip install 'mnist-edge\[c\]'") as caught:
        runtimes.get("native").load(folder)
    assert "\n" not in str(caught.value)
    assert runtimes.get("native").missing() == {"a C compiler": "pip install 'mnist-edge[c]'"}


def test_the_command_says_so_too(
    published: store.Model, picture: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, run_command: Command
) -> None:
    only(monkeypatch, tmp_path)
    done = run_command("predict", picture, "--model", "lenet", "--models-dir", published.home, "--runtime", "native", check=1)
    assert "needs a C compiler" in done.stderr.splitlines()[-1] and "mnist-edge[c]" in done.stderr


@pytest.mark.parametrize("name", ["gcc", "clang", "cc"])
def test_the_systems_compiler_is_taken(name: str, folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path, name, "as", "ld")
    assert np.isfinite(runtimes.get("native").load(folder)(c_code.pictures(4))).all()
    assert native.version().split()[0] in (("gcc", "clang") if name == "cc" else (name,))


def test_a_compiler_with_arguments_is_named_by_the_environment(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc -O1 -DPLAIN_C")
    plain = runtimes.get("native").load(folder)(c_code.pictures())
    monkeypatch.setenv("CC", "clang")
    assert native.version().startswith("clang ")
    assert np.array_equal(plain.view(np.uint32), runtimes.get("native").load(folder)(c_code.pictures()).view(np.uint32))
    assert len(list(cache.glob("*.so"))) == 2


@pytest.mark.parametrize(
    ("named", "says"),
    [("nonsense-cc", "cannot be started"), ("test", "does not report its version")],
)
def test_what_is_no_compiler_is_named(named: str, says: str, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", named)
    with pytest.raises(ModelError, match=rf"C compiler {named}.* {says}") as caught:
        runtimes.get("native").load(folder)
    assert "\n" not in str(caught.value)


def test_a_compiler_that_fails_is_quoted(folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '#!/bin/sh\nif [ "$1" = --version ]; then echo "gcc 99.1.0"; else echo "x.c:1: error: no room" >&2; exit 1; fi\n'
    monkeypatch.setenv("CC", script(tmp_path / "cc-full", text))
    with pytest.raises(ModelError, match=r"lenet\.c: gcc 99\.1\.0 cannot compile it: x\.c:1: error: no room$"):
        runtimes.get("native").load(folder)
    assert not cache.exists()


def test_what_is_no_network_in_c_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "net.c").mkdir()
    with pytest.raises(ModelError, match=r"no network in C.*--format c"):
        runtimes.get("native").load(tmp_path / "net.c")


# a compiler that compiles wrongly


def test_the_gate_refuses_what_a_broken_compiler_made(models: Path, tmp_path: Path, run_command: Command, cache: Path) -> None:
    place = ("--models-dir", models, "--data", "drawn")
    environment = {"CC": broken(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run_command("export", "lenet", "--format", "c", "--target", "none", *place, env=environment, check=3)
    assert "not published" in (done.stdout + done.stderr).lower()
    assert not (models / "lenet" / "lenet.c").exists()
    run_command("export", "lenet", "--format", "c", "--target", "none", *place, env=environment | {"CC": "gcc"})
    assert (models / "lenet" / "lenet.c" / "lenet.h").is_file()


def test_verify_finds_a_broken_compiler(published: store.Model, tmp_path: Path, run_command: Command) -> None:
    models = Path(shutil.copytree(published.home, tmp_path / "models"))
    place = ("--models-dir", models, "--runtime", "native", "--data", "drawn")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    run_command("verify", "lenet", *place, env=environment | {"CC": "gcc"})
    done = run_command("verify", "lenet", *place, env=environment | {"CC": broken(tmp_path)}, check=3)
    assert "lenet.c" in done.stdout + done.stderr
    run_command("verify", "lenet", *place, env=environment | {"CC": "gcc"})


def test_a_digit_of_a_weight_changed_by_hand_is_refused(
    published: store.Model, picture: Path, tmp_path: Path, run_command: Command
) -> None:
    models = Path(shutil.copytree(published.home, tmp_path / "models"))
    source = models / "lenet" / "lenet.c" / "lenet.c"
    text = source.read_text()
    at = text.index("fc3_weight[")
    at = next(i for i in range(text.index("{", at), len(text)) if text[i].isdigit() and text[i + 1].isdigit())
    source.write_text(text[:at] + str(9 - int(text[at])) + text[at + 1 :])
    place, environment = ("--models-dir", models), {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run_command("predict", picture, "--model", "lenet", "--runtime", "native", *place, env=environment, check=1)
    assert "lenet.c" in done.stderr.splitlines()[-1]
    done = run_command("verify", "lenet", "--runtime", "native", "--data", "drawn", *place, env=environment, check=None)
    assert done.returncode in (1, 3) and "lenet.c" in done.stdout + done.stderr


# what is kept


def test_it_compiles_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtimes.get("native").load(folder)
    monkeypatch.setattr(native, "_compile", lambda *_: pytest.fail("compiled again"))
    assert runtimes.get("native").load(folder)(c_code.pictures(4)).shape == (4, 10)


@pytest.mark.parametrize("damage", ["cut", "changed", "another", "no note"])
def test_a_damaged_library_is_made_again(damage: str, folder: Path, cache: Path) -> None:
    before = runtimes.get("native").load(folder)(c_code.pictures())
    (library,) = cache.glob("*.so")
    content = library.read_bytes()
    library.unlink()  # the one in use stays as it is
    if damage == "cut":
        library.write_bytes(content[:1000])
    elif damage == "changed":
        middle = len(content) // 2
        library.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "another":
        library.write_bytes(Path("/bin/true").read_bytes())
    else:
        library.write_bytes(content)
        library.with_suffix(".sha256").unlink()
    assert np.array_equal(runtimes.get("native").load(folder)(c_code.pictures()), before)
    assert library.read_bytes()[:4] == b"\x7fELF" and len(library.read_bytes()) > 1000
    assert native._is_sound(library)


def test_another_compiler_that_says_it_is_the_same_gets_a_library_of_its_own(
    folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "gcc")
    good = runtimes.get("native").load(folder)(c_code.pictures())
    monkeypatch.setenv("CC", broken(tmp_path))
    assert native.version().startswith("gcc ")
    with pytest.raises(ModelError, match=r"lenet.c: compiled by gcc [\d.]+, it fails its own self-test at image \d+"):
        runtimes.get("native").load(folder)
    script(tmp_path / "broken-cc", '#!/bin/sh\nexec gcc "$@"\n')  # repaired
    os.utime(tmp_path / "broken-cc", ns=(1, 1))
    assert np.array_equal(runtimes.get("native").load(folder)(c_code.pictures()), good)


def test_without_a_cache_it_compiles_each_time(folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands where the cache has to be, or there is no home; nothing is left behind."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    cache.parent.parent.mkdir()
    cache.parent.write_text("in the way")
    assert runtimes.get("native").load(folder)(c_code.pictures(4)).shape == (4, 10)
    monkeypatch.setattr(native, "cache_dir", lambda: None)
    assert runtimes.get("native").load(folder)(c_code.pictures(4)).shape == (4, 10)
    assert not list(scratch.iterdir())


def test_two_processes_at_once(folder: Path, published: store.Model, picture: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MNIST_EDGE_")} | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = [COMMAND, "predict", picture, "--model", "lenet", "--models-dir", published.home, "--runtime", "native"]

    def predict(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(predict, range(3)))
    assert [one.returncode for one in done] == [0] * 3, done[0].stderr
    assert len({one.stdout for one in done}) == 1
    assert len(list((tmp_path / "cache" / "mnist-edge" / "native").iterdir())) == 2


def test_odd_paths(folder: Path, tmp_path: Path, cache: Path) -> None:
    for name in ("with space", 'with "quotes" and \\', "mit Ümläuten", "-dash"):
        copy = Path(shutil.copytree(folder, tmp_path / name / "lenet.c"))
        (copy / "lenet.c").write_text((copy / "lenet.c").read_text() + f"/* {len(name)} */\n")  # compiled anew
        assert runtimes.get("native").load(copy)(c_code.pictures(4)).shape == (4, 10)


def test_other_pixels_are_refused(folder: Path, cache: Path) -> None:
    run = runtimes.get("native").load(folder)
    for wrong in (np.zeros((1, 28, 28), np.uint8), np.zeros((1, 1, 28, 28), np.float32)):
        with pytest.raises(ModelError, match="takes uint8 N×1×28×28"):
            run(wrong)
