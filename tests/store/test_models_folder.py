"""Which entry counts, what a refusal says and proposes, and what stays where it is."""

import json
import os
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from proving import with_bytes

from mnist_edge import store
from mnist_edge.common.errors import ModelError, TrainingError, UnknownNameError, UsageError
from mnist_edge.common.files import sha256_bytes
from mnist_edge.common.locks import lock_file, locked
from mnist_edge.store import housekeeping, models, publishing
from mnist_edge.store.manifest import FILE_NAME, SCHEMA, Artifact, Manifest, _own_hash


@pytest.fixture
def model(models: Path) -> store.Model:
    return store.find("lenet", models)


def edited(model: store.Model, **changes: Any) -> store.Model:
    replace(model.manifest, **changes).write(model.folder)
    return store.Model.read(model.folder)


def test_of_two_entries_the_one_that_matches_the_file_counts(model: store.Model) -> None:
    old = model.artifact("ort")
    new = with_bytes(old, "0" * 64, 1)
    for entries in ((old, new), (new, old)):
        assert store.Model(model.folder, replace(model.manifest, artifacts=entries)).artifacts == (old,)
    (model.folder / old.file).write_bytes(b"neither")
    assert store.Model(model.folder, replace(model.manifest, artifacts=(old, new))).artifacts == (new,)
    (model.folder / old.file).unlink()
    assert store.Model(model.folder, replace(model.manifest, artifacts=(old, new))).artifacts == (new,)


def test_a_model_says_why_it_was_chosen(model: store.Model, models: Path) -> None:
    assert store.Model.read(model.folder).chosen == f"folder {model.folder}"
    assert store.Model.read(model.folder, "because").chosen == "because"
    assert model.chosen == f"in {models}"
    assert store.find(model.folder / "lenet.onnx").chosen == "beside lenet.onnx"
    assert store.installed_reference().chosen == "the reference installed with mnist-edge"


def test_a_file_on_its_own_belongs_to_no_model(model: store.Model, tmp_path: Path) -> None:
    alone = Path(shutil.copy(model.folder / "lenet.onnx", tmp_path / "alone.onnx"))
    assert store.resolve(alone) == store.Found(None, alone)
    assert store.resolve(model.folder / "lenet.onnx").file == model.folder / "lenet.onnx"
    with pytest.raises(ModelError, match=r"alone\.onnx: no manifest\.json beside it"):
        store.find(alone)
    with pytest.raises(ModelError, match=r"alone\.onnx: not an artifact in the manifest\.json beside it"):
        model.artifact_of_file(alone)
    assert model.artifact_of_file(tmp_path / "lenet.onnx").file == "lenet.onnx"


def test_names_that_are_no_models(models: Path) -> None:
    with pytest.raises(UnknownNameError, match="a model's name cannot be empty"):
        store.resolve("", models)
    for path in ("no/such", "model.onnx", str(models / "none")):
        with pytest.raises(UnknownNameError, match=f"{path}: no such model folder or file"):
            store.resolve(path, models)
    with pytest.raises(UnknownNameError, match=f"looked in {models}; mnist-edge train NETWORK makes one"):
        store.resolve("none", models)


def as_folder(model: store.Model, name: str = "lenet.made") -> store.Model:
    """The model with a third artifact, a folder of two files."""
    from mnist_edge.common.trees import read_tree

    (model.folder / name / "src").mkdir(parents=True)
    (model.folder / name / "src" / "net.c").write_text("int net;")
    (model.folder / name / "net.h").write_text("int net;")
    tree = read_tree(model.folder / name)
    made = replace(with_bytes(model.artifact("ort"), tree.sha256, tree.bytes), file=name, format="made", members=tree.members)
    return edited(model, artifacts=(*model.manifest.artifacts, made))


def test_an_artifact_may_be_a_folder_and_every_byte_of_it_counts(model: store.Model) -> None:
    model = as_folder(model)
    made = model.artifact_of_file(Path("lenet.made"))
    path = model.path(made)
    assert store.resolve(path) == store.Found(model=store.Model(model.folder, model.manifest, "beside lenet.made"), file=path)
    (path / "net.h").write_text("int nat;")
    with pytest.raises(ModelError, match=r"refused, net\.h has changed: its SHA-256 is .*make it again: .*--format made"):
        model.path(made)
    (path / "net.h").unlink()
    with pytest.raises(ModelError, match=r"refused, net\.h is missing"):
        model.path(made)
    (path / "net.h").write_text("int net;")
    (path / "more").touch()
    with pytest.raises(ModelError, match=r"refused, more does not belong to it"):
        model.path(made)
    (path / "more").unlink()
    assert model.path(made) == path
    (path / "link").symlink_to("net.h")
    with pytest.raises(ModelError, match=r"an artifact may hold no links; make it again: "):
        model.path(made)


def test_folders_that_are_no_artifacts(model: store.Model) -> None:
    model = as_folder(model)
    (model.folder / "other").mkdir()
    for folder in (model.folder, model.folder / "other", model.folder.parent, model.folder / "lenet.onnx"):
        assert not models._is_artifact(folder)
    assert models._is_artifact(model.folder / "lenet.made")


def test_a_damaged_file_comes_with_what_mends_it(model: store.Model) -> None:
    manifest = model.manifest
    for record in (manifest.golden, manifest.weights, manifest.history, manifest.references[0]):
        assert record is not None
        path = model.folder / record.file
        content = path.read_bytes()
        path.write_bytes(content + b"x")
        with pytest.raises(ModelError) as caught:
            model.path(record)
        path.write_bytes(content)
        said = str(caught.value)
        if record is manifest.golden:
            assert said.endswith(f"make it again: mnist-edge export {model.folder} --format onnx")
        elif record is manifest.weights:
            assert (
                "without weights.safetensors it can be run from its exported files, but not exported again; restore that file, or train"
                in said
            )
        else:
            assert said.endswith("restore it, or train the model again")
    (model.folder / manifest.weights.file).unlink()
    assert "without weights.safetensors" in model.export_again() and "; then: mnist-edge export" in model.export_again()
    bare = replace(model, manifest=replace(manifest, artifacts=()))
    assert "without weights.safetensors it cannot be exported" in bare.export_again()


def test_commands_are_ready_to_paste(model: store.Model) -> None:
    assert model.export_command() == f"mnist-edge export {model.folder} --format onnx"
    assert model.export_command("torchscript") == f"mnist-edge export {model.folder} --format torchscript"
    lower = replace(model.artifact("ort"), precision="int8-static")
    assert model.export_command(again=lower) == f"mnist-edge export {model.folder} --format onnx --quantize static"
    assert store.installed_reference().export_command() == "mnist-edge export lenet --format onnx"
    foreign = replace(model, manifest=replace(model.manifest, architecture="mine:Net"))
    assert foreign.export_command().endswith(" --allow-network mine:Net")
    assert str(model.lacks("tract")) == (
        f"{model.folder}: no artifact for runtime tract (there: lenet.onnx for ort, lenet.torchscript.pt for torchscript); "
        f"make one: mnist-edge export {model.folder} --format onnx"
    )


def test_float32_comes_before_lower_precisions(model: store.Model) -> None:
    exact = model.artifact("ort")
    lower = replace(exact, file="a.onnx", precision="fp16")
    for artifacts in ((exact, lower), (lower, exact)):
        assert replace(model, manifest=replace(model.manifest, artifacts=artifacts)).artifact("ort") == exact
    other = replace(exact, file="b.onnx")
    assert replace(model, manifest=replace(model.manifest, artifacts=(exact, other, lower))).artifact("ort") == other


def test_what_was_trained_last_is_meant_and_what_was_shipped_is_not(model: store.Model, models: Path) -> None:
    from mnist_edge.store.marks import REFERENCE_MARK, marked

    for name, when in (("older", "2026-01-01"), ("newer", "2027-01-01"), ("middle", "2026-06-01")):
        copy = store.Model.read(Path(shutil.copytree(model.folder, models / name)))
        edited(copy, training=copy.manifest.training | {"finished": when})
    shutil.rmtree(model.folder)
    assert store.find(None, models).name == "newer"
    (models / "newer" / "README.md").write_bytes(marked("x", REFERENCE_MARK))
    assert store.find(None, models).name == "middle"
    for name in ("older", "middle"):
        (models / name / "README.md").write_bytes(marked("x", REFERENCE_MARK))
    assert store.find(None, models).is_installed_reference  # none of those is the reference model
    (models / "newer").rename(models / "lenet")
    found = store.find(None, models)
    assert (found.folder, found.chosen) == (models / "lenet", "the reference model; nothing else was trained here")


def test_a_models_folder_that_cannot_be_listed_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"file: Not a directory; --models-dir names another"):
        store.list_models(tmp_path / "file")
    assert store.list_models(tmp_path / "none") == ([], [])


@pytest.mark.parametrize("body", ["[]", "{}", '{"schema": "4"}', "5", '{"schema": null}'])
def test_json_that_is_no_manifest(tmp_path: Path, body: str) -> None:
    (tmp_path / FILE_NAME).write_text(body)
    with pytest.raises(ModelError, match=r"manifest\.json: not a manifest of this program"):
        Manifest.read(tmp_path)


def test_todays_schema_is_read_and_tomorrows_is_not(model: store.Model) -> None:
    path = model.folder / FILE_NAME
    for schema, words in ((SCHEMA + 1, f"schema {SCHEMA + 1}, written by mnist-edge .*upgrade mnist-edge"), (True, "not readable|edited")):
        body = json.loads(path.read_bytes()) | {"schema": schema}
        del body["sha256"]
        (model.folder.parent / "odd").mkdir(exist_ok=True)
        (model.folder.parent / "odd" / FILE_NAME).write_text(json.dumps(body | {"sha256": _own_hash(body)}))
        with pytest.raises(ModelError, match=words):
            Manifest.read(model.folder.parent / "odd")


def test_a_manifest_is_read_by_people_and_keeps_its_letters(model: store.Model) -> None:
    changed = edited(model, classes=("eins", "zwölf"))
    text = (model.folder / FILE_NAME).read_text("utf-8")
    assert '"zwölf"' in text and text.endswith("}\n") and text.startswith('{\n "schema": 4,\n "program": "mnist-edge ')
    assert changed.manifest.classes == ("eins", "zwölf")
    with pytest.raises(ValueError, match="JSON compliant"):
        replace(model.manifest, scores=model.manifest.scores | {"x": float("nan")}).write(model.folder)


def test_one_entry_a_file_and_one_a_data_set(model: store.Model) -> None:
    manifest = model.manifest
    first = manifest.artifacts[0]
    again = manifest.with_artifact(replace(first, bytes=5))
    assert [one.file for one in again.artifacts] == ["lenet.onnx", "lenet.torchscript.pt"] and again.artifacts[0].bytes == 5
    assert [one.file for one in manifest.with_artifact(replace(first, file="a")).artifacts] == ["a", "lenet.onnx", "lenet.torchscript.pt"]
    stored = manifest.references[0]
    assert manifest.with_reference(replace(stored, file="x")).references == (replace(stored, file="x"),)
    other = replace(stored, data=stored.data | {"sha256": "1"})
    assert manifest.with_reference(other).references == (stored, other)
    assert manifest.with_reference(other).reference_on("1") == other and manifest.reference_on("1") is None


def test_a_new_artifact_is_listed_beside_the_old_one_only_while_the_file_changes(
    model: store.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (model.folder / "lenet.onnx").read_bytes() + b"new"
    aside = model.folder.parent / "aside"
    seen: list[list[tuple[str, bool]]] = []
    real = publishing.take_place

    def take_place(source: Path, target: Path) -> None:
        listed = json.loads((model.folder / FILE_NAME).read_bytes())["artifacts"]
        seen.append([(one["file"], one["sha256"] == sha256_bytes(content)) for one in listed])
        real(source, target)

    monkeypatch.setattr(publishing, "take_place", take_place)
    for name in ("lenet.onnx", "first.onnx"):
        aside.write_bytes(content)
        artifact = replace(with_bytes(model.artifact("ort"), sha256_bytes(content), len(content)), file=name)
        model, kept = publishing.publish_artifact(model, aside, artifact)
        assert kept.file == name and model.path(kept)
    assert seen[0] == [("lenet.onnx", False), ("lenet.torchscript.pt", False), ("lenet.onnx", True)]
    assert seen[1] == [("lenet.onnx", True), ("lenet.torchscript.pt", False)]  # nothing was in its place


def test_the_lock_of_the_models_folder_is_held_while_something_is_published(
    model: store.Model, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held: list[bool] = []

    def look(*given: object) -> None:
        with locked(models) as free:
            held.append(not free)

    real = Manifest.write
    monkeypatch.setattr(Manifest, "write", lambda self, folder: (look(), real(self, folder))[1])
    publishing.change_manifest(model, lambda manifest: manifest)
    content = b"new" + (model.folder / "lenet.onnx").read_bytes()
    (models / "aside").write_bytes(content)
    publishing.publish_artifact(model, models / "aside", with_bytes(model.artifact("ort"), sha256_bytes(content), len(content)))
    monkeypatch.setattr(publishing, "check_target", look)
    aside = Path(shutil.copytree(model.folder, models / ".new"))
    publishing.publish_model(aside, models / "lenet")
    assert len(held) >= 4 and all(held)


def test_who_publishes_waits_for_who_holds_the_lock(model: store.Model, models: Path, tmp_path: Path) -> None:
    content = (model.folder / "lenet.onnx").read_bytes() + b"new"
    (models / "aside").write_bytes(content)
    artifact = with_bytes(model.artifact("ort"), sha256_bytes(content), len(content))
    aside = Path(shutil.copytree(model.folder, models / ".new"))
    (tmp_path / "empty").mkdir()
    reference = store.installed_reference()
    for folder, publish in (
        (models, lambda: publishing.change_manifest(model, lambda manifest: manifest)),
        (models, lambda: publishing.publish_artifact(model, models / "aside", artifact)),
        (models, lambda: publishing.publish_model(aside, models / "other")),
        (tmp_path / "empty", lambda: publishing.writable(reference, tmp_path / "empty")),
    ):
        began = time.monotonic()
        with ThreadPoolExecutor(1) as threads:
            with locked(folder, wait=True) as held:
                assert held
                done = threads.submit(publish)
                time.sleep(0.4)
                assert not done.done()
            done.result(timeout=30)
        assert time.monotonic() - began >= 0.4


def test_what_is_published_is_on_the_disk_first(model: store.Model, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut after a rename must not find names without contents."""
    order: list[str] = []
    real_rename, real_flush = os.rename, publishing.flush
    monkeypatch.setattr(publishing, "flush", lambda path: (order.append(f"flush {path.name}"), real_flush(path))[1])
    monkeypatch.setattr(os, "rename", lambda a, b: (order.append(f"rename {Path(b).name}"), real_rename(a, b))[1])
    aside = Path(shutil.copytree(model.folder, models / ".new"))
    publishing.publish_model(aside, models / "other")
    assert {f"flush {path.name}" for path in model.folder.iterdir()} | {"flush .new"} == set(order[: order.index("rename other")])
    assert order[order.index("rename other") :] == ["rename other", "flush models"]
    order.clear()
    aside = Path(shutil.copytree(model.folder, models / ".new"))
    kept = publishing.publish_model(aside, models / "other")
    assert kept is not None and order[-2:] == ["flush .replaced", "flush models"]


def test_two_that_are_replaced_in_one_second_are_both_kept(model: store.Model, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    for note in ("one", "two", "three"):
        aside = Path(shutil.copytree(model.folder, models / ".new"))
        (aside / "note").write_text(note)
        publishing.publish_model(aside, models / "lenet")
    assert sorted((folder.name, (folder / "note").exists()) for folder in (models / ".replaced").iterdir()) == [
        ("lenet-20260101-000000", False),
        ("lenet-20260101-000000-", True),
        ("lenet-20260101-000000--", True),
    ]


def test_the_copy_of_the_reference_is_whole_and_made_once(tmp_path: Path) -> None:
    reference = store.installed_reference()
    copy = publishing.writable(reference, tmp_path / "models")
    assert copy.chosen == f"the installed reference, copied to {tmp_path / 'models' / 'lenet'}"
    manifest = copy.manifest
    for record in (manifest.weights, manifest.history, manifest.golden, *manifest.references, *copy.artifacts):
        assert record is not None and copy.path(record).is_file()
    (copy.folder / "note").touch()
    again = publishing.writable(reference, tmp_path / "models")
    assert (again.folder / "note").exists() and again.folder == copy.folder
    assert publishing.writable(copy, tmp_path / "models") is copy
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["lenet"]
    (tmp_path / "else" / "lenet").mkdir(parents=True)
    with pytest.raises(UsageError, match="exists, but is not a model; move it away"):
        publishing.check_writable(reference, tmp_path / "else")


def test_a_reference_with_a_folder_among_its_artifacts_is_copied(
    model: store.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = as_folder(model)
    monkeypatch.setattr(models, "_installed_reference", lambda: model.folder.resolve())
    assert model.is_installed_reference
    copy = publishing.writable(model, tmp_path / "mine")
    assert copy.path(copy.artifact_of_file(Path("lenet.made"))).is_dir()


def test_a_run_is_locked_by_its_file_and_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / ".runs"
    (place / "vgg").mkdir(parents=True)
    with publishing.run_lock(tmp_path, "vgg") as free:
        assert free
        with publishing.run_lock(tmp_path, "vgg") as second, publishing.run_lock(tmp_path, "other") as other:
            assert not second and other
    with locked(place / "vgg"), publishing.run_lock(tmp_path, "vgg") as free:
        assert not free
    waits: list[float] = []
    with lock_file(place / ".vgg.lock"):
        monkeypatch.setattr(time, "sleep", waits.append)
        with publishing.run_lock(tmp_path, "vgg") as free:
            assert not free and sum(waits) == 0
        with publishing.run_lock(tmp_path, "vgg", patiently=True) as free:
            assert not free and len(waits) >= 9 and 0.05 < sum(waits) < 1


@pytest.mark.parametrize(
    ("settings", "name", "command"),
    [
        ({"architecture": "vgg", "data": {"name": "mnist", "images": 60_000}}, "vgg", "train vgg --resume"),
        ({"architecture": "vgg", "data": {"name": "mnist", "images": 59_999}}, "vgg", "train vgg --resume --train-images 59999"),
        ({"architecture": "vgg", "data": {"name": "drawn", "images": 60_000}}, "mine", "train vgg --resume --name mine --data drawn"),
        ({"architecture": "vgg", "data": {"name": "folder:pics", "images": 70}}, "vgg", "train vgg --resume --data pics"),
        ({"architecture": "vgg", "data": {"name": "folder:pics", "images": 70}, "train_images": 50}, "vgg", "train vgg --resume --data pics --train-images 50"),
        ({"architecture": "vgg", "data": "mnist"}, "vgg", "train vgg --resume"),
        ({}, "vgg", "train vgg --resume"),
        ([], "vgg", "train vgg --resume"),
    ],
)  # fmt: skip
def test_how_a_run_goes_on(tmp_path: Path, settings: Any, name: str, command: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps(settings))
    assert housekeeping.resume_command(tmp_path, name) == f"mnist-edge {command}"
    assert housekeeping.resume_command(tmp_path, name, Path("m")) == f"mnist-edge {command} --models-dir m"
    (tmp_path / "run.json").write_text("{")
    assert housekeeping.resume_command(tmp_path, name).startswith(f"mnist-edge train {name} --resume")


def test_leftovers_are_described_as_far_as_they_can_be_read(model: store.Model, models: Path) -> None:
    replaced, failed, runs = (models / place for place in (".replaced", ".failed", ".runs"))
    shutil.copytree(model.folder, replaced / "good-20260101-000000")
    (replaced / "bad-20260101-000001").mkdir()
    for number, report in enumerate(('{"failures": ["one", "two"]}', '{"failures": []}', '{"failures": 5}', "[", "[]")):
        (failed / f"x{number}-20260101-000000").mkdir(parents=True)
        (failed / f"x{number}-20260101-000000" / "report.json").write_text(report)
    for number, settings in enumerate(('{"architecture": "vgg", "data": {"name": "mnist"}}', '{"architecture": 5, "data": {"name": "mnist"}}',
                                       '{"architecture": "vgg", "data": {"name": 5}}', '{"architecture": "vgg"}', "")):  # fmt: skip
        (runs / f"run{number}").mkdir(parents=True)
        (runs / f"run{number}" / "run.json").write_text(settings)
    what = {one.name: one.what.removesuffix("; --resume continues it") for one in housekeeping.leftovers(models)}
    accuracy = f"{100 * model.manifest.scores['test_accuracy']:.2f} %"
    assert (what["good"], what["bad"]) == (f"lenet, {accuracy} on drawn digits", "not readable")
    assert [what[f"x{number}"] for number in range(5)] == ["refused: one", *["refused"] * 4]
    assert [what[f"run{number}"] for number in range(5)] == [
        "unfinished training of vgg on MNIST",
        *["unfinished training, not readable"] * 4,
    ]


def test_leftovers_are_in_order_and_have_ages(models: Path) -> None:
    now = time.time()
    for kind, name, age in ((".runs", ".vgg", 100), (".replaced", "lenet", 5000), (".replaced", "lenet", 90), (".failed", "lenet", 3000)):
        folder = models / kind / f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now - age))}"
        folder.mkdir(parents=True)
        os.utime(folder, (now - 10**6,) * 2)
    for name in (f"late-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now + 9999))}", "odd-20269999-000000", "lenet-2026"):
        (models / ".replaced" / name).mkdir()
    found = [(one.kind, one.name, round(one.seconds, -1)) for one in housekeeping.leftovers(models)]
    assert found == [
        ("replaced", "late", 0),
        ("replaced", "lenet", 90),
        ("replaced", "lenet", 5000),
        ("failed", "lenet", 3000),
        ("runs", "vgg", 100),
    ]
    assert [(one.name, round(one.seconds, -1)) for one in housekeeping.restorable(models)] == [
        ("late", 0),
        ("lenet", 90),
        ("lenet", 5000),
        ("vgg", 100),
    ]
    assert housekeeping.leftovers(models)[1].to_json()["path"].startswith(str(models))


def test_parts_are_found_where_programs_leave_them_and_stay_for_a_day(model: store.Model, models: Path) -> None:
    places = [models, model.folder, *(models / kind for kind in (".replaced", ".failed", ".runs")), models / ".runs" / "vgg"]
    for number, place in enumerate(places):
        place.mkdir(parents=True, exist_ok=True)
        (place / f".file{number}.0123abcd.part").write_bytes(bytes(10))
        os.utime(place / f".file{number}.0123abcd.part", (time.time() - 25 * 3600,) * 2)
    for name in (".x.0123abc.part", ".x.0123abcg.part", "x.0123abcd.part", ".x.0123abcd.parts"):
        (models / name).touch()
    (models / "notes").mkdir()
    (models / "notes" / ".x.0123abcd.part").touch()
    young = models / ".young.0123abcd.part"
    young.touch()
    os.utime(young, (time.time() - 23 * 3600,) * 2)
    found = {one.name: one for one in housekeeping.leftovers(models) if one.kind == "parts"}
    assert set(found) == {"young", *(f"file{number}" for number in range(6))}
    assert found["young"].in_use == "may still be written: it is younger than a day" and not found["file0"].in_use
    assert found["file0"].bytes == 10 and found["file0"].what == "half written by a program that was killed"
    assert not housekeeping.remove(models, found["young"]) and young.exists()
    assert housekeeping.remove(models, found["file0"]) and not housekeeping.remove(models, found["file0"])


def test_removing_waits_for_who_publishes(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    real = housekeeping.locked
    monkeypatch.setattr(housekeeping, "locked", lambda folder, **how: (asked.append({"folder": folder} | how), real(folder, **how))[1])
    folder = models / ".replaced" / "lenet-20260101-000000"
    folder.mkdir(parents=True)
    assert housekeeping.remove(models, housekeeping.leftovers(models)[0])
    assert asked == [{"folder": models, "wait": True}]
    assert not folder.exists() and not folder.parent.exists()  # an empty .replaced goes, too


def test_sizes_are_of_all_that_is_in_it_and_follow_no_links(models: Path, tmp_path: Path) -> None:
    folder = models / ".replaced" / "lenet-20260101-000000"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_bytes(bytes(10_000_000))
    (tmp_path / "large").write_bytes(bytes(3_000_000))
    (folder / "link").symlink_to(tmp_path / "large")
    (one,) = housekeeping.leftovers(models)
    assert 10_000_000 < one.bytes < 10_100_000
    assert housekeeping.total_bytes([one, one._replace(path=folder / "deep")]) == one.bytes
    assert housekeeping.total_bytes([one, one._replace(path=models / "x")]) == 2 * one.bytes
    assert stat.S_ISLNK((folder / "link").lstat().st_mode)


def test_a_run_that_is_being_trained_is_not_replaced(models: Path) -> None:
    for name in ("vgg", ".vgg-20260101-000000"):
        (models / ".runs" / name).mkdir(parents=True)
    with lock_file(models / ".runs" / ".vgg.lock"):
        with pytest.raises(TrainingError, match="vgg is being trained by another program; restore the run .vgg-20260101-000000 when"):
            housekeeping.restore(models, "vgg")
        (run,) = [one for one in housekeeping.leftovers(models) if one.path.name == "vgg"]
        assert run.in_use == "is being trained"
    restored = housekeeping.restore(models, "vgg")
    assert restored.kept is not None and restored.place == models / ".runs" / "vgg"


def test_answers_are_stored_under_the_name_of_their_data(model: store.Model) -> None:
    logits = np.arange(20, dtype=np.float32).reshape(2, 10)
    about = {"name": "mine", "split": "test", "images": 2, "sha256": "abcdef0123456789"}
    record = publishing.write_reference(model.folder, logits, about)
    assert record.file == "reference-abcdef01.npy" and record.data == about
    assert record.bytes == (model.folder / record.file).stat().st_size
    assert (store.read_reference(model, record) == logits).all()
    golden = publishing.write_golden(model.folder, b"npz")
    assert (golden.file, golden.bytes, golden.sha256) == ("golden.npz", 3, sha256_bytes(b"npz"))


def test_a_record_is_one_artifact(model: store.Model) -> None:
    assert isinstance(model.artifact("ort"), Artifact) and not model.is_shipped
