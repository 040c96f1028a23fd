"""An artifact that is a folder: what counts as one, and how it takes its place."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from proving import with_bytes

from mnist_edge import store
from mnist_edge.common import trees
from mnist_edge.common.errors import ModelError, ParityError, UsageError
from mnist_edge.common.files import folder_aside, sha256_bytes
from mnist_edge.common.trees import read_tree
from mnist_edge.store import publishing
from mnist_edge.store.manifest import Artifact

FILE = "lenet.net"


def write(folder: Path, **changes: str) -> Path:
    """Write a folder of three members, one of them in a subfolder."""
    (folder / "src").mkdir(parents=True)
    for name, text in ({"src/a.c": "int a;", "b.txt": "b", "c.bin": "c"} | changes).items():
        (folder / name).write_text(text)
    return folder


def record(models: Path, path: Path) -> Artifact:
    tree = read_tree(path)
    made = with_bytes(store.find("lenet", models).artifact("ort"), tree.sha256, tree.bytes, members=tree.members)
    return replace(made, file=FILE, format="net", runtime="net", proofs=tuple(replace(proof, runtime="net") for proof in made.proofs))


def publish(models: Path, write_to: Callable[[Path], object], force: bool = False) -> Artifact:
    """Publish as an export does: from a folder aside that is removed."""
    model = store.find("lenet", models)
    with folder_aside(models, "lenet") as aside:
        write_to(aside / FILE)
        artifact = record(models, aside / FILE)
        return publishing.publish_artifact(model, aside / FILE, artifact, force=force)[1]


def there(models: Path) -> tuple[store.Model, Artifact]:
    model = store.find("lenet", models)
    return model, model.artifact("net")


def litter(models: Path) -> list[str]:
    return sorted(path.name for path in models.iterdir() if path.name not in ("lenet", ".lock"))


def test_the_hash_is_the_one_that_coreutils_print(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", **{"é.txt": "e", "B": "b", "a b": "ab"})
    line = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    printed = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert read_tree(folder).sha256 == printed.split()[0]
    assert read_tree(folder).bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def flip(folder: Path) -> None:
    (folder / "src/a.c").write_text("int b;")


def swap(folder: Path) -> None:
    """The same contents under each other's names: nothing but names tells it."""
    (folder / "b.txt").write_text("c")
    (folder / "c.bin").write_text("b")


def list_instead(folder: Path) -> None:
    """A file that holds the very lines whose hash is the folder's."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in read_tree(folder).members.items())
    shutil.rmtree(folder)
    folder.write_text(lines)


def bind(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def away(folder: Path) -> Path:
    return folder.parent.parent.parent / "away"


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped": (flip, "src/a.c has changed"),
    "renamed": (lambda f: (f / "b.txt").rename(f / "d.txt"), "b.txt is missing"),
    "moved": (lambda f: (f / "src/a.c").rename(f / "a.c") and (f / "src").rmdir(), "a.c does not belong to it"),
    "extra": (lambda f: (f / "src/z").touch(), "src/z does not belong to it"),
    "missing": (lambda f: (f / "c.bin").unlink(), "c.bin is missing"),
    "swapped": (swap, "b.txt has changed"),
    "an empty folder": (lambda f: (f / "src/more").mkdir(), "src/more: an empty folder"),
    "a link": (lambda f: ((f / "b.txt").rename(away(f)), (f / "b.txt").symlink_to(away(f))), "b.txt: neither a file nor a folder"),
    "a link to a folder": (lambda f: ((f / "src").rename(away(f)), (f / "src").symlink_to(away(f))), "src: neither a file nor a folder"),
    "itself a link": (lambda f: (f.rename(away(f)), f.symlink_to(away(f))), "but a link"),
    "a pipe": (lambda f: os.mkfifo(f / "pipe"), "pipe: neither a file nor a folder"),
    "a socket": (lambda f: bind(f / "s"), "s: neither a file nor a folder"),
    "a name of two lines": (lambda f: (f / "x\ny").touch(), r"a file name with a backslash or unprintable characters: x\ny"),
    "a name that is no UTF-8": (lambda f: (f / "x\udcff").touch(), r"unprintable characters: x\xff"),
    "a file": (list_instead, "it is a file but was a folder"),
    "all gone": (lambda f: shutil.rmtree(f), "No such file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_differs_in_a_folder_is_named_in_one_line(models: Path, damage: str) -> None:
    publish(models, write)
    model, artifact = there(models)
    assert model.path(artifact) == models / "lenet" / FILE
    change, words = DAMAGES[damage]
    change(models / "lenet" / FILE)
    with pytest.raises(ModelError) as refused:
        model.path(artifact)
    message = str(refused.value)
    assert words in message, message
    assert FILE in message
    assert "make it again: mnist-edge export" in message
    assert message.isprintable()
    publish(models, write)  # what is damaged is replaced, whatever it is
    model, artifact = there(models)
    assert model.path(artifact)
    assert litter(models) == []


def test_what_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that nobody may list, as root reads anything: os.walk would take it for one that is not there."""
    folder, real = write(tmp_path / "x"), os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("src"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        read_tree(folder)


def as_file(path: Path) -> None:
    path.write_text("one file")


def as_other_folder(path: Path) -> None:
    write(path, **{"src/a.c": "new", "more": "1"})


KINDS = {"folder by folder": (write, as_other_folder), "file by folder": (as_file, write), "folder by file": (write, as_file)}


@pytest.fixture(params=[True, False], ids=["renameat2", "without"])
def one_step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the system lets two folders change places."""
    if not request.param:
        monkeypatch.setattr(trees, "exchange", lambda a, b: False)
    return bool(request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_and_a_file_take_each_others_place_and_leave_nothing(models: Path, kind: str, one_step: bool) -> None:
    first, second = KINDS[kind]
    old = publish(models, first)
    new = publish(models, second)
    model, artifact = there(models)
    assert artifact == new != old
    assert read_tree(model.path(artifact)).members == new.members
    assert litter(models) == []
    assert sorted(path.name for path in (models / "lenet").glob("*net*")) == [FILE, "lenet.onnx", "lenet.torchscript.pt"]


class Killed(BaseException):
    """Nothing after it runs; what was written aside stays."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interrupt", [Killed, KeyboardInterrupt])
def test_stopped_at_each_write_leaves_the_old_or_the_new(
    models: Path, kind: str, one_step: bool, interrupt: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename, exchange and write of the manifest in turn is the last; the model loads as it was or as it will be."""
    first, second = KINDS[kind]
    old, seen = publish(models, first), set()
    for stop_at in range(1, 10):
        calls = 0

        def stopping(real: Callable[..., object], stop_at: int = stop_at) -> Callable[..., object]:
            def call(*arguments: object) -> object:
                nonlocal calls
                calls += 1
                if calls == stop_at:
                    raise interrupt
                return real(*arguments)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stopping(os.replace))
            patch.setattr(os, "rename", stopping(os.rename))
            if one_step:
                patch.setattr(trees, "exchange", stopping(trees.exchange))
            with contextlib.suppress(interrupt):
                publish(models, second)
        model, artifact = there(models)
        model.path(artifact)  # the whole of it
        seen.add(artifact.sha256)
        assert litter(models) == []
        if calls < stop_at:
            break
        publish(models, first)
        model, artifact = there(models)
        assert artifact.sha256 == old.sha256
    assert stop_at > 3
    assert len(seen) == 2


def test_a_reader_never_sees_half_of_a_folder(models: Path) -> None:
    """Another process loads it again and again while it is replaced."""
    publish(models, write)
    code = """
import sys
from pathlib import Path
from mnist_edge import store
seen, bad = set(), []
print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    try:
        model = store.find("lenet", Path(sys.argv[1]))
        artifact = model.artifact("net")
        folder = Path(sys.argv[1]) / "lenet" / artifact.file
        seen.add((folder / "src" / "a.c").read_text())
    except Exception as error:
        bad.append(repr(error))
print(len(seen), bad[:3])
"""
    stop = models.parent / "stop"
    reader = subprocess.Popen([sys.executable, "-c", code, str(models), str(stop)], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    reader.stdout.readline()
    try:
        for _ in range(40):
            publish(models, as_other_folder)
            publish(models, write)
    finally:
        stop.touch()
    assert reader.communicate(timeout=60)[0].split(maxsplit=1) == ["2", "[]\n"]


def test_a_weaker_proof_of_another_folder_is_refused_unless_forced(models: Path) -> None:
    publish(models, write)
    model = store.find("lenet", models)
    with folder_aside(models, "lenet") as aside:
        as_other_folder(aside / FILE)
        made = record(models, aside / FILE)
        weak = replace(made, proofs=tuple(replace(proof, parity=proof.parity | {"unproven": "too few"}) for proof in made.proofs))
        with pytest.raises(ParityError, match="not replaced, because its proof"):
            publishing.publish_artifact(model, aside / FILE, weak)
        assert there(models)[0].path(there(models)[1])
        publishing.publish_artifact(model, aside / FILE, weak, force=True)
    assert there(models)[1].unproven == "too few"


@pytest.mark.parametrize("also", ["", "mine.txt"])
def test_an_export_that_was_killed_between_its_two_changes_is_made_good_by_the_next(models: Path, also: str) -> None:
    """The folder has its place, and the manifest does not list it yet. With a file of the user's in it, it is left alone."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import test_trees
from mnist_edge.store.manifest import Manifest
Manifest.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
test_trees.publish(Path({str(models)!r}), test_trees.write)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    target = models / "lenet" / FILE
    assert killed.returncode == -signal.SIGKILL and read_tree(target).members
    assert FILE not in {one.file for one in store.find("lenet", models).artifacts}
    if also:
        (target / also).write_text("mine")
        with pytest.raises(UsageError, match="a folder that is not an artifact"):
            publish(models, write)
        assert (target / also).read_text() == "mine"
    else:
        publish(models, write)
        model, artifact = there(models)
        assert model.path(artifact) == target


def test_a_folder_of_the_users_own_is_not_removed(models: Path) -> None:
    mine = models / "lenet" / FILE
    write(mine, thesis="years of work")
    with pytest.raises(UsageError, match="a folder that is not an artifact"):
        publish(models, write)
    assert (mine / "thesis").read_text() == "years of work"
    assert litter(models) == []


def test_a_copy_of_the_installed_reference_has_its_folders(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(models, write)
    from mnist_edge.store import models as finding

    monkeypatch.setattr(finding, "_installed_reference", lambda: (models / "lenet").resolve())
    reference = finding.installed_reference()
    copy = publishing.writable(reference, tmp_path / "other")
    assert copy.folder == tmp_path / "other" / "lenet"
    assert copy.path(copy.artifact("net"))
    assert (copy.folder / FILE / "src" / "a.c").read_text() == "int a;"
    flip(models / "lenet" / FILE)
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(ModelError, match=r"src/a\.c has changed"):
        publishing.writable(reference, tmp_path / "other")
    assert litter(tmp_path / "other") == []


def test_a_path_to_the_folder_names_the_artifact(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(models, write)
    folder = models / "lenet" / FILE
    for given in (folder, f"{folder}/", f"{folder}/."):
        found = store.resolve(given)
        assert found.model is not None
        assert (found.model.folder, found.file) == (models / "lenet", folder)
    monkeypatch.chdir(folder)
    found = store.resolve(".")
    assert found.model is not None
    assert found.file == folder
    assert found.model.artifact_of_file(found.file).file == FILE


def test_a_file_that_was_hashed_as_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    assert read_tree(tmp_path / "f") == (sha256_bytes(b"x"), 1, {})
