import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from proving import with_bytes

from mnist_edge import Predictor, store
from mnist_edge.common.errors import ModelError, NotAModelError, UnknownNameError, UsageError
from mnist_edge.common.files import sha256_bytes, written_aside
from mnist_edge.store import publishing
from mnist_edge.store.manifest import FILE_NAME, Artifact, Manifest


def test_an_edited_manifest_is_refused(models: Path) -> None:
    path = models / "lenet" / FILE_NAME
    text = path.read_text()
    for old, new in (('"mean": 0.1307', '"mean": 0.5'), ('"test_correct": ', '"test_correct": 1'), ('"sha256": "', '"sha256": "0')):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(ModelError, match="edited or damaged"):
            store.find("lenet", models)
    path.write_text(text.replace("{", "", 1))
    with pytest.raises(ModelError, match="not JSON"):
        store.find("lenet", models)


def test_a_manifest_of_a_newer_program_is_refused_with_the_way_on(models: Path) -> None:
    path = models / "lenet" / FILE_NAME
    body = json.loads(path.read_text()) | {"schema": 99, "program": "mnist-edge 9.0"}
    path.write_text(json.dumps(body))
    with pytest.raises(ModelError, match=r"written by mnist-edge 9\.0.*upgrade"):
        store.find("lenet", models)


@pytest.mark.parametrize("runtime", ["ort", "torchscript", "torch"])
def test_one_flipped_byte_in_any_file_is_refused(models: Path, runtime: str) -> None:
    model = store.find("lenet", models)
    record = model.manifest.weights if runtime == "torch" else model.artifact(runtime)
    path = models / "lenet" / record.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="refused, its SHA-256"):
        Predictor.load("lenet", runtime, models_dir=models)
    if runtime != "torch":
        with pytest.raises(ModelError, match="refused, its SHA-256"):
            Predictor.load(path, runtime)
    path.unlink()
    with pytest.raises(ModelError, match="No such file"):
        Predictor.load("lenet", runtime, models_dir=models)


def test_a_file_name_does_not_lead_out_of_the_folder(models: Path) -> None:
    model = store.find("lenet", models)
    with pytest.raises(ModelError, match="points outside"):
        model.path(replace(model.manifest.weights, file="../lenet/weights.safetensors"))


def test_a_model_is_found_by_name_folder_and_file(models: Path) -> None:
    for given in ("lenet", models / "lenet", models / "lenet" / "lenet.onnx"):
        assert store.find(given, models).name == "lenet"
    assert store.find(None, models).folder == models / "lenet"
    with pytest.raises(UnknownNameError, match=r"unknown model 'lenett' \(did you mean 'lenet'\?\)"):
        store.find("lenett", models)
    with pytest.raises(ModelError, match=r"no manifest\.json in it"):
        store.find(models)


def test_rubbish_in_the_models_folder_is_named_and_hides_nothing(models: Path) -> None:
    (models / "notes.txt").write_text("mine")
    (models / "empty").mkdir()
    (models / "broken").mkdir()
    (models / "broken" / FILE_NAME).write_text("{")
    found, problems = store.list_models(models)
    assert [model.name for model in found] == ["lenet"]
    assert len(problems) == 2
    assert store.find(None, models).name == "lenet"
    assert "not read: " in store.find(None, models).chosen
    (models / "broken" / FILE_NAME).unlink()
    assert store.find(None, models).chosen == f"trained last in {models}"
    (models / "lenet").rename(models.parent / "away")
    assert store.find(None, models).is_installed_reference
    (models / "deep").mkdir()
    (models / "deep" / FILE_NAME).write_text("[" * 100_000)
    os.mkfifo(models / "empty" / FILE_NAME)
    assert len(store.list_models(models)[1]) == 3


def test_a_damaged_model_is_named_whatever_its_folder_is_called(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "no manifest.json in it"
    models.rename(folder)
    (folder / "lenet" / FILE_NAME).write_text("{")
    (folder / "empty").mkdir()
    with pytest.raises(ModelError, match="no readable model in .*lenet/manifest.json: not JSON"):
        store.find(None, folder)
    assert [type(problem) for problem in store.list_models(folder)[1]] == [NotAModelError, ModelError]


def test_a_copied_model_goes_by_its_folders_name(models: Path) -> None:
    import shutil

    shutil.copytree(models / "lenet", models / "copy")
    assert store.find("copy", models).name == "copy"
    assert sorted(model.name for model in store.list_models(models)[0]) == ["copy", "lenet"]


def _new_artifact(models: Path) -> tuple[store.Model, Artifact, bytes]:
    model = store.find("lenet", models)
    content = (models / "lenet" / "lenet.onnx").read_bytes() + b"new"
    return model, with_bytes(model.artifact("ort"), sha256_bytes(content), len(content)), content


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_killed_while_an_artifact_is_replaced_leaves_the_old_or_the_new(
    models: Path, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop at each write of `publish_artifact`, as a kill would, and load the model."""
    model, artifact, content = _new_artifact(models)
    old = model.artifact("ort")
    aside = models / "aside.onnx"
    aside.write_bytes(content)
    calls = 0
    real = publishing.os.replace

    def replace_until_killed(source: object, target: object) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt
        real(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(publishing.os, "replace", replace_until_killed)
    with pytest.raises(KeyboardInterrupt):
        publishing.publish_artifact(model, aside, artifact)
    monkeypatch.undo()
    after = store.find("lenet", models)
    now = after.artifact("ort")
    assert now.sha256 == (artifact if stop_at == 3 else old).sha256
    after.path(now)
    aside.write_bytes(content)
    done, _ = publishing.publish_artifact(after, aside, artifact)
    assert [a.file for a in done.manifest.artifacts] == ["lenet.onnx", "lenet.torchscript.pt"]
    done.path(done.artifact("ort"))


def test_a_new_model_replaces_the_old_one_which_is_kept(models: Path) -> None:
    aside = models / ".new"
    (models / "lenet").rename(models / "other")
    import shutil

    shutil.copytree(models / "other", aside)
    assert publishing.publish_model(aside, models / "lenet") is None
    shutil.copytree(models / "other", aside)
    (aside / "marker").touch()
    kept = publishing.publish_model(aside, models / "lenet")
    assert (models / "lenet" / "marker").exists()
    assert kept is not None
    assert store.Model.read(kept).manifest.name == "lenet"
    assert not (kept / "marker").exists()
    assert not aside.exists()
    assert kept not in [m.folder for m in store.list_models(models)[0]]


def test_a_replaced_model_is_never_lost_when_it_cannot_be_moved(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rename in turn fails, with and without the exchange in one step."""
    import shutil

    real = os.rename
    for exchange in (True, False):
        for fails_at in (1, 2, 3):
            aside = models / ".new.part"
            shutil.copytree(models / "lenet", aside)
            (aside / "new").touch()
            calls = 0

            def rename(source: object, target: object, fails_at: int = fails_at) -> None:
                nonlocal calls
                calls += 1
                if calls == fails_at:
                    raise OSError(18, "Invalid cross-device link")
                real(source, target)  # type: ignore[arg-type]

            with monkeypatch.context() as patch:
                patch.setattr(publishing.os, "rename", rename)
                if not exchange:
                    patch.setattr(publishing, "exchange", lambda a, b: False)
                with contextlib.suppress(OSError):
                    publishing.publish_model(aside, models / "lenet")
            shutil.rmtree(aside, ignore_errors=True)  # as the caller does
            folders = [models / "lenet", *(models / ".replaced").glob("*")]
            assert any(not (folder / "new").exists() and store.Model.read(folder) for folder in folders), (exchange, fails_at)
            assert store.Model.read(models / "lenet")
            shutil.rmtree(models / ".replaced", ignore_errors=True)
            (models / "lenet" / "new").unlink(missing_ok=True)


def test_an_artifact_of_weights_that_were_replaced_meanwhile_is_not_published(models: Path) -> None:
    model, artifact, content = _new_artifact(models)
    aside = models / "aside.onnx"
    aside.write_bytes(content)
    weights = replace(model.manifest.weights, sha256="0" * 64)
    replace(model.manifest, weights=weights).write(models / "lenet")
    with pytest.raises(ModelError, match="trained again in the meantime"):
        publishing.publish_artifact(model, aside, artifact)
    assert store.find("lenet", models).artifact("ort").sha256 != artifact.sha256


def test_a_change_keeps_what_another_program_published_meanwhile(models: Path) -> None:
    model, artifact, content = _new_artifact(models)
    aside = models / "aside.onnx"
    aside.write_bytes(content)
    publishing.publish_artifact(model, aside, artifact)
    publishing.change_manifest(model, lambda manifest: replace(manifest, scores=manifest.scores | {"more": 1}))
    assert store.find("lenet", models).artifact("ort").sha256 == artifact.sha256


def test_a_folder_that_is_no_model_is_never_replaced(models: Path, tmp_path: Path) -> None:
    (models / "mine").mkdir()
    (models / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a model"):
        publishing.publish_model(models / "lenet", models / "mine")
    assert (models / "mine" / "thesis.txt").exists()
    assert (models / "lenet").exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_manifest_survives_its_round_trip(models: Path) -> None:
    manifest = Manifest.read(models / "lenet")
    before = (models / "lenet" / FILE_NAME).read_bytes()
    manifest.write(models / "lenet")
    assert (models / "lenet" / FILE_NAME).read_bytes() == before
    assert manifest.artifacts[0].inputs[0]["name"] == "pixels"
    assert manifest.training["data"]["name"] == "drawn"


def test_the_installed_reference_is_copied_before_it_is_written_to(tmp_path: Path) -> None:
    reference = store.find(None, tmp_path / "models")
    assert reference.is_installed_reference
    copy = publishing.writable(reference, tmp_path / "models")
    assert copy.folder == tmp_path / "models" / "lenet"
    assert not copy.is_installed_reference
    assert store.find(None, tmp_path / "models").folder == copy.folder
