"""What is left in a models folder: listed, removed only where it is safe, and put back."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from mnist_edge import store
from mnist_edge.common.errors import ModelError, TrainingError, UnknownNameError
from mnist_edge.common.locks import locked
from mnist_edge.common.text import percent
from mnist_edge.store import housekeeping, publishing
from mnist_edge.store.housekeeping import leftovers, remove, restorable, restore

REFERENCE = Path(__file__).resolve().parents[1] / "models" / "lenet"

DAY = 24 * 3600.0

RUN = {"architecture": "vgg", "data": {"name": "drawn", "images": 1200}}


def model(folder: Path, note: str = "") -> Path:
    """Put a model there; `note` tells it from another of the same weights."""
    shutil.copytree(REFERENCE, folder)
    (folder / "note.txt").write_text(note)
    return folder


def run(folder: Path, note: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(RUN))
    (folder / "checkpoint.pt").write_text(note)
    return folder


def aged(path: Path, seconds: float) -> Path:
    for one in (path, *path.rglob("*")):
        os.utime(one, (time.time() - seconds,) * 2)
    return path


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A models folder with one of everything, and with things of the user's own that look alike."""
    models = tmp_path / "models"
    model(models / "lenet", "now")
    model(models / ".replaced" / "lenet-20260102-030405", "older")
    model(models / ".replaced" / "lenet-20260203-030405", "newer")
    model(models / ".replaced" / "resnet-tiny-20260102-030405-")
    failed = models / ".failed" / "lenet-lenet.onnx-20260102-030405"
    failed.mkdir(parents=True)
    (failed / "report.json").write_text(json.dumps({"failures": ["3 of 10000 answers changed"]}))
    aged(failed, 30 * DAY)
    run(models / ".runs" / "vgg", "going")
    run(models / ".runs" / ".vgg-20260102-030405", "aside")
    for part in (models / ".lenet.0123abcd.part", models / "lenet" / ".manifest.json.0123abcd.part"):
        part.write_text("half")
        aged(part, 2 * DAY)
    (models / ".lenet.89abcdef.part").mkdir()  # just begun
    for own in (".replaced/mine", ".failed/notes", ".runs/.notes", ".git", "pictures"):
        (models / own).mkdir()
    (models / "lenet" / ".mine.part").write_text("mine")
    return models


def test_lists_what_is_left_and_nothing_else(full: Path) -> None:
    found = {(one.kind, one.path.relative_to(full).as_posix(), one.name, bool(one.in_use)) for one in leftovers(full)}
    assert found == {
        ("replaced", ".replaced/lenet-20260102-030405", "lenet", False),
        ("replaced", ".replaced/lenet-20260203-030405", "lenet", False),
        ("replaced", ".replaced/resnet-tiny-20260102-030405-", "resnet-tiny", False),
        ("failed", ".failed/lenet-lenet.onnx-20260102-030405", "lenet-lenet.onnx", False),
        ("runs", ".runs/vgg", "vgg", False),
        ("runs", ".runs/.vgg-20260102-030405", "vgg", False),
        ("parts", ".lenet.0123abcd.part", "lenet", False),
        ("parts", "lenet/.manifest.json.0123abcd.part", "manifest.json", False),
        ("parts", ".lenet.89abcdef.part", "lenet", True),
    }
    what = {one.path.name: one.what for one in leftovers(full)}
    accuracy = store.Model.read(REFERENCE).manifest.scores["test_accuracy"]
    assert what["lenet-20260102-030405"] == f"lenet, {percent(accuracy)} on MNIST"
    assert what["lenet-lenet.onnx-20260102-030405"] == "refused: 3 of 10000 answers changed"
    assert what["vgg"] == "unfinished training of vgg on drawn digits; --resume continues it"
    assert sum(one.bytes for one in leftovers(full) if one.kind == "replaced") > 3 * (REFERENCE / "lenet.onnx").stat().st_size


def test_age_is_since_it_was_replaced_not_since_it_was_trained(tmp_path: Path) -> None:
    now = time.strftime("%Y%m%d-%H%M%S")
    aged(model(tmp_path / ".replaced" / f"lenet-{now}"), 100 * DAY)
    assert leftovers(tmp_path)[0].seconds < DAY


def test_an_empty_or_missing_folder_has_nothing(tmp_path: Path) -> None:
    assert leftovers(tmp_path) == leftovers(tmp_path / "none") == restorable(tmp_path / "none") == []


def test_removes_what_it_is_given_and_nothing_else(full: Path) -> None:
    for one in leftovers(full):
        assert remove(full, one) == (not one.in_use)
    left = {path.relative_to(full).as_posix() for path in full.rglob("*") if not path.is_relative_to(full / "lenet")}
    assert left == {
        *(".lenet.89abcdef.part", ".replaced", ".replaced/mine", ".failed", ".failed/notes"),
        *(".runs", ".runs/.notes", ".git", "pictures"),
    }
    assert (full / "lenet" / "note.txt").read_text() == "now"
    assert (full / "lenet" / ".mine.part").exists()
    store.Model.read(full / "lenet")


@pytest.mark.parametrize("holder", ["vgg", ".vgg.lock"])
def test_a_run_that_is_being_trained_stays(full: Path, holder: str) -> None:
    """The lock is on the run's folder or on a file beside it."""
    (full / ".runs" / ".vgg.lock").touch()
    idle = {one.path.name: one for one in leftovers(full) if one.kind == "runs"}
    with locked(full / ".runs" / holder):
        assert next(one for one in leftovers(full) if one.path.name == "vgg").in_use == "is being trained"
        assert not remove(full, idle["vgg"])  # listed before the training began
    assert (full / ".runs" / "vgg" / "checkpoint.pt").read_text() == "going"
    assert remove(full, idle["vgg"])


def test_evidence_that_is_being_written_stays(full: Path) -> None:
    os.utime(full / ".failed" / "lenet-lenet.onnx-20260102-030405" / "report.json")
    found = next(one for one in leftovers(full) if one.kind == "failed")
    assert found.in_use and not remove(full, found)


def test_a_link_is_removed_and_not_what_it_leads_to(full: Path, tmp_path: Path) -> None:
    elsewhere = model(tmp_path / "elsewhere")
    link = full / ".replaced" / "vit-20260102-030405"
    link.symlink_to(elsewhere)
    assert remove(full, next(one for one in leftovers(full) if one.path == link))
    assert not link.is_symlink() and (elsewhere / "lenet.onnx").exists()


def test_what_is_gone_by_now_is_not_removed(full: Path) -> None:
    one = next(one for one in leftovers(full) if one.kind == "replaced")
    restore(full, one.path.name)
    assert not remove(full, one)


def test_a_removal_that_stops_halfway_leaves_no_half_model_to_restore(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(path: Path) -> None:
        (path / "lenet.onnx").unlink()
        raise OSError("stopped")

    monkeypatch.setattr(shutil, "rmtree", stop)
    one = restorable(full)[0]
    with pytest.raises(OSError, match="stopped"):
        remove(full, one)
    assert one.path.name not in {other.path.name for other in restorable(full)}
    assert any(other.kind == "parts" and other.path.parent == one.path.parent for other in leftovers(full))


def test_restores_the_model_that_was_replaced_last_and_keeps_the_other(full: Path) -> None:
    done = restore(full, "lenet")
    assert (full / "lenet" / "note.txt").read_text() == "newer" and done.place == full / "lenet"
    assert done.kept is not None and (done.kept / "note.txt").read_text() == "now"
    assert {one.path.name for one in restorable(full)} >= {done.kept.name, "lenet-20260102-030405"}
    restore(full, "lenet")
    assert (full / "lenet" / "note.txt").read_text() == "now"
    store.Model.read(full / "lenet")


@pytest.mark.parametrize("form", ["{name}", "{path}"])
def test_restores_a_certain_one(full: Path, form: str) -> None:
    name = "lenet-20260102-030405"
    restore(full, form.format(name=name, path=full / ".replaced" / name))
    assert (full / "lenet" / "note.txt").read_text() == "older"


def test_restores_where_nothing_is_any_more(full: Path) -> None:
    shutil.rmtree(full / "lenet")
    assert restore(full, "lenet").kept is None
    assert (full / "lenet" / "note.txt").read_text() == "newer"


def test_a_damaged_model_is_not_restored(full: Path) -> None:
    manifest = full / ".replaced" / "lenet-20260203-030405" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"lenet", b"lenex"))
    with pytest.raises(ModelError):
        restore(full, "lenet")
    assert (full / "lenet" / "note.txt").read_text() == "now" and manifest.exists()


def test_a_failed_restore_leaves_both_where_they_were(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(aside: Path, target: Path) -> None:
        raise OSError("full disk")

    monkeypatch.setattr(housekeeping, "publish_model", refuse)
    with pytest.raises(OSError, match="full disk"):
        restore(full, "lenet")
    assert (full / "lenet" / "note.txt").read_text() == "now"
    assert (full / ".replaced" / "lenet-20260203-030405" / "note.txt").read_text() == "newer"


def test_restores_a_run_and_sets_the_other_aside(full: Path) -> None:
    done = restore(full, "vgg")
    assert (full / ".runs" / "vgg" / "checkpoint.pt").read_text() == "aside"
    assert done.kept is not None and done.kept.name.startswith(".vgg-") and (done.kept / "checkpoint.pt").read_text() == "going"
    assert housekeeping.resume_command(done.place, "vgg") == "mnist-edge train vgg --resume --data drawn --train-images 1200"
    restore(full, done.kept.name)
    assert (full / ".runs" / "vgg" / "checkpoint.pt").read_text() == "going"


def test_a_part_inside_a_run_counts_and_goes_once(full: Path) -> None:
    part = full / ".runs" / ".vgg-20260102-030405" / ".checkpoint.pt.0123abcd.part"
    part.write_bytes(bytes(1000))
    aged(part, 2 * DAY)
    found = leftovers(full)
    run, inside = (next(one for one in found if one.path == path) for path in (part.parent, part))
    assert run.bytes > inside.bytes == 1000
    assert housekeeping.total_bytes([run, inside]) == run.bytes and housekeeping.total_bytes([inside]) == 1000
    assert remove(full, run) and not remove(full, inside)


@pytest.mark.parametrize("holder", ["vgg", ".vgg.lock"])
def test_a_run_is_not_restored_over_one_that_is_being_trained(full: Path, holder: str) -> None:
    (full / ".runs" / ".vgg.lock").touch()
    with locked(full / ".runs" / holder), pytest.raises(TrainingError, match="being trained"):
        restore(full, "vgg")
    assert (full / ".runs" / "vgg" / "checkpoint.pt").read_text() == "going"


def test_an_unknown_name_lists_what_there_is(full: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'lenett' \(did you mean 'lenet'.*resnet-tiny"):
        restore(full, "lenett")


def test_what_a_training_replaces_is_what_is_restored(full: Path, tmp_path: Path) -> None:
    kept = publishing.publish_model(model(tmp_path / "aside", "trained"), full / "lenet")
    assert kept is not None
    restore(full, "lenet")
    assert (full / "lenet" / "note.txt").read_text() == "now"


def test_a_run_that_cannot_be_put_back_leaves_the_other_in_its_place(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def fail_on_the_restored(source: Path, target: Path) -> None:
        if Path(source).name == ".vgg-20260102-030405":
            raise OSError("stopped")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_on_the_restored)
    with pytest.raises(OSError, match="stopped"):
        restore(full, ".vgg-20260102-030405")
    assert (full / ".runs" / "vgg" / "checkpoint.pt").read_text() == "going"


def test_a_models_folder_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for look in (leftovers, housekeeping.restorable):
        with pytest.raises(ModelError, match="file: not a folder; --models-dir names another"):
            look(tmp_path / "file")
