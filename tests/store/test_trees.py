"""A file or a folder as one thing: its hash is the one that sha256sum gives, and it takes a place in one step."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_edge.common import trees
from mnist_edge.common.errors import ModelError
from mnist_edge.common.shape import Closed, mismatch
from mnist_edge.common.trees import Tree, difference, exchange, flush_tree, read_tree, take_place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made" / "src" / "deep").mkdir(parents=True)
    for name, text in (("src/b.c", "int b;"), ("src/a.c", "int a;"), ("src/deep/é.h", ""), ("Z.txt", "z"), ("a.txt", "a")):
        (tmp_path / "made" / name).write_text(text)
    return tmp_path / "made"


def test_the_hash_of_a_folder_is_what_its_users_can_compute(folder: Path) -> None:
    line = r"find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=True).stdout
    tree = read_tree(folder)
    assert tree.sha256 == printed.split()[0]
    assert list(tree.members) == ["Z.txt", "a.txt", "src/a.c", "src/b.c", "src/deep/é.h"]
    assert tree.members["src/a.c"] == hashlib.sha256(b"int a;").hexdigest()
    assert tree.bytes == 14
    file = read_tree(folder / "Z.txt")
    assert file == Tree(hashlib.sha256(b"z").hexdigest(), 1, {})


@pytest.mark.parametrize("what", ["link to a file", "link to a folder", "empty folder", "pipe", "backslash", "newline"])
def test_what_is_no_plain_file_is_refused_wherever_it_lies(folder: Path, what: str) -> None:
    place = folder / "src" / "odd"
    if what.startswith("link"):
        place.symlink_to(folder / ("a.txt" if "file" in what else "src/deep"))
    elif what == "empty folder":
        place.mkdir()
    elif what == "pipe":
        os.mkfifo(place)
    else:
        (folder / "src" / {"backslash": "a\\b", "newline": "a\nb"}[what]).touch()
    with pytest.raises(ModelError, match=r"empty folder|no links|file name with"):
        read_tree(folder)


def test_what_is_neither_file_nor_folder_is_said(folder: Path) -> None:
    link, pipe = folder.parent / "link", folder.parent / "pipe"
    os.mkfifo(pipe)
    for leads in (folder, folder / "a.txt", folder / "nowhere"):
        link.symlink_to(leads)
        with pytest.raises(ModelError, match="neither a file nor a folder, but a link"):
            read_tree(link)
        link.unlink()
    with pytest.raises(ModelError, match="neither a file nor a folder, but something else"):
        read_tree(pipe)
    with pytest.raises(FileNotFoundError):
        read_tree(folder / "nothing")


def test_what_differs_is_named() -> None:
    expected = {"a": "1", "b": "2", "c": "3"}
    assert difference(Tree("", 0, dict(expected)), expected) == ""
    assert difference(Tree("", 0, {"a": "1", "b": "2"}), expected) == "c is missing"
    assert difference(Tree("", 0, {"a": "1", "b": "9", "c": "3"}), expected) == "b has changed"
    assert difference(Tree("", 0, {**expected, "aa": "1"}), expected) == "aa does not belong to it"
    assert difference(Tree("", 0, {"c": "3", "b": "9"}), expected) == "a is missing"


def test_a_file_takes_the_place_of_nothing_and_of_a_file(tmp_path: Path) -> None:
    one, target = tmp_path / "one", tmp_path / "target"
    for text in ("first", "second"):
        one.write_text(text)
        take_place(one, target)
        assert target.read_text() == text and not one.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="renameat2 is Linux's")
def test_two_change_places_in_one_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (other / "mine").touch()
    assert exchange(folder, other)
    assert (folder / "mine").exists() and (other / "src" / "a.c").exists()
    assert not exchange(folder, folder.parent / "nothing")
    assert (folder / "mine").exists() and not (folder.parent / "nothing").exists()
    monkeypatch.chdir(folder.parent)
    assert exchange(Path(folder.name), Path("other"))  # and back, by names that begin here
    assert (other / "mine").exists()


@pytest.mark.parametrize("able", [True, False])
@pytest.mark.parametrize(("new", "old"), [("folder", "folder"), ("folder", "file"), ("file", "folder")])
def test_a_folder_takes_a_place_whether_the_system_can_exchange_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, able: bool, new: str, old: str
) -> None:
    def put(path: Path, kind: str) -> Path:
        if kind == "folder":
            path.mkdir()
        (path / "in" if kind == "folder" else path).write_text(path.name)
        return path

    aside, target = put(tmp_path / "aside", new), put(tmp_path / "target", old)
    if not able:
        monkeypatch.setattr(trees, "exchange", lambda a, b: False)
    take_place(aside, target)
    assert (target / "in" if new == "folder" else target).read_text() == "aside"
    left = aside if able else tmp_path / "aside.old"
    assert (left / "in" if old == "folder" else left).read_text() == "target"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["target", left.name])


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aside, target = tmp_path / "aside", tmp_path / "target"
    for path in (aside, target):
        path.mkdir()
        (path / path.name).touch()
    real = os.rename

    def rename(source: Path, to: Path) -> None:
        if Path(source) == aside:
            raise OSError("stopped")
        real(source, to)

    monkeypatch.setattr(trees, "exchange", lambda a, b: False)
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="stopped"):
        take_place(aside, target)
    assert (target / "target").exists() and (aside / "aside").exists()


def test_another_system_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_text() == "a"


def test_a_system_without_the_call_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    for name in ("a", "b"):
        (tmp_path / name).write_text(name)

    def no_library(name: object, **more: object) -> None:
        raise OSError("no C library")

    for library in (no_library, lambda name, **more: object()):
        with monkeypatch.context() as patch:
            patch.setattr(ctypes, "CDLL", library)
            assert not exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_text() == "a"


def test_large_logits_are_numbers() -> None:
    import numpy as np

    from mnist_edge.common.logits import check, check_shape

    large = np.full((2, 10), 1e30, np.float32)  # whose squares are infinite
    assert check(large, 2) is large
    for value in (np.nan, np.inf, -np.inf):
        odd = large.copy()
        odd[1, 9] = value
        with pytest.raises(ModelError, match=r"^x: answered NaN or infinity"):
            check(odd, 2, "x")
        assert check_shape(odd, 2) is odd
    for rows, columns in ((3, 10), (2, 9)):
        with pytest.raises(ModelError, match=rf"^answered float32 \(2, 10\) where float32 \({rows}, {columns}\) was expected"):
            check_shape(large, rows, "", columns)
    with pytest.raises(ModelError, match="^x: answered list where"):
        check(large.tolist(), 2, "x")
    with pytest.raises(ModelError, match=r"answered float64 \(2, 10\)"):
        check(large.astype(float), 2)


def test_all_of_a_folder_is_on_the_disk_before_it_takes_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(trees, "flush", flushed.append)
    flush_tree(folder)
    everything = {folder, *folder.rglob("*")}
    assert set(flushed) == everything and len(flushed) == len(everything)
    assert flushed[-1] == folder or flushed.index(folder) > flushed.index(folder / "a.txt")  # a folder's entries after what they name
    flushed.clear()
    flush_tree(folder / "a.txt")
    assert flushed == [folder / "a.txt"]


@pytest.mark.parametrize(
    ("value", "shape", "wrong"),
    [
        (0, int, ""),
        (True, int, "the content is True, not a count"),
        (-1, int, "the content is -1, not a count"),
        (1e300, float, ""),
        (2e300, float, "the content is 2e+300, not a number"),
        (-2e300, float, "the content is -2e+300, not a number"),
        (float("nan"), float, "the content is nan, not a number"),
        (False, float, "the content is False, not a number"),
        ("1", float, "the content is '1', not a number"),
        (None, None, ""),
        (0, None, "the content is 0, not null"),
        ([], [int], ""),
        ({}, [int], "the content is {}, not a list"),
        ([1, [2, -3]], [(int, [int])], "[1] is [2, -3], not a count"),
        ({"a": {"b": [0, "x"]}}, {"a": {"b": [int]}}, "a.b[1] is 'x', not a count"),
        ([], {"a": int}, "the content is [], not an object"),
        ({}, {"a": int}, "a is missing"),
        ({}, {"?a": int}, ""),
        ({"a": None}, {"?a": int}, "a is None, not a count"),
        ({"a": {"c": 1}}, {"a": Closed({"?b": int})}, "a.c is unknown"),
        ({"a": {"b": 1}}, {"a": Closed({"?b": int})}, ""),
        (3, Closed({}), "the content is 3, not an object"),
        (5, dict, "the content is 5, not an object"),
        (5, list, "the content is 5, not list"),
        (5, object, ""),
        (5, (str, dict), "the content is 5, not text"),
        ("x" * 38, int, f"the content is '{'x' * 38}', not a count"),
        ("x" * 39, int, f"the content is '{'x' * 36}…, not a count"),
    ],
)
def test_what_has_not_its_shape_is_said_with_its_place(value: object, shape: object, wrong: str) -> None:
    assert mismatch(value, shape) == wrong


def test_names_of_files_lead_nowhere_else() -> None:
    from mnist_edge.common.shape import FILE_NAME

    for good in ("lenet.onnx", ".hidden", "...", "a b"):
        assert mismatch(good, FILE_NAME) == ""
    for bad in ("", ".", "..", "a/b", "/a", "a/", "a\nb", 5, None):
        assert mismatch(bad, FILE_NAME).endswith("not the name of a file in this folder")
