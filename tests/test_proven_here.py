"""A proof says where it holds: `predict` says where none does, `verify` makes one anywhere, `show` lists them."""

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image
from proving import as_if_made_elsewhere, elsewhere

from mnist_edge import Predictor, store
from mnist_edge.common.errors import NotProvenError, UnprovenWarning
from mnist_edge.common.files import sha256_bytes
from mnist_edge.common.options import Option
from mnist_edge.dataset import drawn
from mnist_edge.proof import records
from mnist_edge.runtimes import get, platforms
from mnist_edge.store import kept
from mnist_edge.store import models as finding
from mnist_edge.store.manifest import FILE_NAME, Manifest
from mnist_edge.store.proofs import Proof, merged

REFERENCE = Path(__file__).resolve().parents[1] / "models" / "lenet"


@pytest.fixture(autouse=True)
def _a_thousand_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--data drawn`` draws what the shared model was proven on (`drawn_test`), which is a set of another hash than the usual 10,000."""
    draw = drawn.draw
    monkeypatch.setattr(drawn, "draw", lambda split, count=None, seed=None: draw(split, count or 1000, seed))


def picture_of(pixels: np.ndarray, folder: Path) -> Path:
    path = folder / "seven.png"
    Image.fromarray(pixels).save(path)
    return path


def test_an_export_is_proven_where_it_was_made(models: Path, recwarn: pytest.WarningsRecorder) -> None:
    Predictor.load("lenet", models_dir=models, require_proof=True)
    assert not [one for one in recwarn if one.category is UnprovenWarning]
    (proof,) = store.find("lenet", models).artifact("ort").proofs
    assert (proof.runtime, proof.version, proof.platform) == ("ort", get("ort").version(), platforms.here().to_json())
    assert proof.golden["max_difference"] < 1e-4


@pytest.mark.parametrize("changes", [{"platform": elsewhere()}, {"version": "onnxruntime 1.0"}, {"platform": None}, {"options": {"x": 1}}])
def test_a_proof_from_elsewhere_is_none_here(models: Path, changes: dict[str, object]) -> None:
    as_if_made_elsewhere(models / "lenet", **changes)
    with pytest.warns(UnprovenWarning, match=r"lenet\.onnx: not proven with onnxruntime .* on .*; prove it: mnist-edge verify \S+/lenet$"):
        Predictor.load("lenet", models_dir=models)
    with pytest.raises(NotProvenError, match="not proven with onnxruntime"):
        Predictor.load("lenet", models_dir=models, require_proof=True)


def test_verify_proves_it_here_and_the_one_from_elsewhere_stays(
    run_command: Command, models: Path, tmp_path: Path, seven: np.ndarray
) -> None:
    as_if_made_elsewhere(models / "lenet", platform=elsewhere())
    there = ("--models-dir", models)
    said = run_command("predict", picture_of(seven, tmp_path), *there).stderr
    assert "warning: lenet.onnx: not proven with onnxruntime" in said and "only with onnxruntime" in said and "Other" in said
    refused = run_command("predict", picture_of(seven, tmp_path), "--require-proof", *there, check=3)
    assert refused.stderr.startswith("error: lenet.onnx: not proven with") and not refused.stdout
    line = said[said.index("mnist-edge verify") :].splitlines()[0].removeprefix("mnist-edge ")
    run_command(*line.split(), "--data", "drawn", "--runtime", "ort")
    assert "not proven" not in run_command("predict", picture_of(seven, tmp_path), "--require-proof", *there).stderr
    shown = run_command("show", "lenet", *there).stdout
    assert "other (Other)" in shown and platforms.here().describe() in shown
    proofs = store.find("lenet", models).artifact("ort").proofs
    assert [proof.platform["processor"] for proof in proofs if proof.platform] == ["Other", platforms.here().processor]


def test_a_manifest_of_schema_3_has_proofs_that_do_not_say_where(
    run_command: Command, models: Path, seven: np.ndarray, tmp_path: Path
) -> None:
    """As they were published by version 0.1: the file itself is not changed by reading it."""
    path = models / "lenet" / FILE_NAME
    body = json.loads(path.read_text())
    del body["sha256"]
    for artifact in body["artifacts"]:
        (proof,) = artifact.pop("proofs")
        del artifact["members"]
        artifact |= {"parity": proof["parity"], "golden": proof["golden"]}
    body["schema"] = 3
    body["sha256"] = sha256_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    path.write_text(json.dumps(body))
    (proof,) = store.find("lenet", models).artifact("ort").proofs
    assert proof.version == "" and proof.platform is None and proof.parity["passed"] is True
    assert "not recorded" in run_command("show", "lenet", "--models-dir", models).stdout
    assert "a machine that was not recorded" in run_command("predict", picture_of(seven, tmp_path), "--models-dir", models).stderr
    assert json.loads(path.read_text()) == body
    run_command("verify", "lenet", "--data", "drawn", "--runtime", "ort", "--models-dir", models)
    after = json.loads(path.read_text())
    assert after["schema"] == 4 and [proof["version"] for proof in after["artifacts"][0]["proofs"]] == [get("ort").version()]


def test_the_reference_model_of_this_package_is_verified_quickly_and_read(run_command: Command, tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "lenet")
    run_command("verify", tmp_path / "lenet", "--quick", "--runtime", "ort")


def test_in_a_folder_that_cannot_be_written_to_the_proof_is_kept_for_the_user(
    run_command: Command, models: Path, seven: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also for root, who may write anywhere: the manifest's own writing is what fails."""
    as_if_made_elsewhere(models / "lenet", platform=elsewhere())
    before = (models / "lenet" / FILE_NAME).read_bytes()

    def refuse(self: Manifest, folder: Path) -> None:
        raise OSError(30, "Read-only file system", str(folder / FILE_NAME))

    monkeypatch.setattr(Manifest, "write", refuse)
    proofs = tmp_path / "proofs"
    mine = {"env": {"MNIST_EDGE_PROOFS_DIR": str(proofs)}}
    done = run_command("verify", "lenet", "--data", "drawn", "--runtime", "ort", "--json", "--models-dir", models, **mine)
    document = json.loads(done.stdout)
    assert document["passed"] is True and document["proofs_kept"] is True
    assert document["artifacts"][0]["platform"] == platforms.here().to_json()
    assert f"kept in {proofs}, for this user alone: {models / 'lenet'}: Read-only file system\n" in done.stderr
    asked = ("predict", picture_of(seven, tmp_path), "--models-dir", models)
    assert "not proven" not in run_command(*asked, "--require-proof", **mine).stderr
    assert platforms.here().describe() in run_command("show", "lenet", "--models-dir", models, **mine).stdout
    run_command(*asked, "--require-proof", check=3)  # another user has to prove it again
    assert (models / "lenet" / FILE_NAME).read_bytes() == before
    assert stat.S_ISREG((models / "lenet" / FILE_NAME).stat().st_mode)


def test_where_nothing_can_be_kept_the_result_is_printed(
    run_command: Command, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_if_made_elsewhere(models / "lenet", platform=elsewhere())

    def refuse(self: Manifest, folder: Path) -> None:
        raise OSError(30, "Read-only file system", str(folder / FILE_NAME))

    monkeypatch.setattr(Manifest, "write", refuse)
    (tmp_path / "file").touch()
    place = {"MNIST_EDGE_PROOFS_DIR": str(tmp_path / "file" / "proofs")}
    done = run_command("verify", "lenet", "--data", "drawn", "--runtime", "ort", "--json", "--models-dir", models, env=place)
    assert json.loads(done.stdout)["proofs_kept"] is False
    assert "Read-only file system; nor for this user: Not a directory\n" in done.stderr


@pytest.mark.parametrize("text", ["", "{}", "[{}]", '[{"artifact": 1}]', "[" * 100_000, "other"])
def test_what_a_user_keeps_counts_for_these_bytes_alone_and_only_if_it_can_be_read(
    models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.setenv("MNIST_EDGE_PROOFS_DIR", str(tmp_path))
    artifact = store.find("lenet", models).artifact("ort")
    there = kept.keep(artifact, artifact.proofs)
    assert kept.kept_proofs(artifact) == artifact.proofs
    another = replace(artifact, sha256="0" * 64)
    assert kept.kept_proofs(another) == ()
    there.rename(tmp_path / f"{another.sha256}.json")
    assert kept.kept_proofs(another) == () and kept.kept_proofs(artifact) == ()
    there.write_text(text)
    assert kept.kept_proofs(artifact) == ()
    kept.keep(artifact, artifact.proofs)
    assert kept.with_kept(artifact) == artifact


def test_the_installed_reference_is_proven_by_verify(
    run_command: Command, models: Path, seven: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after pip install: predict says how to prove it, and is content when that was done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finding, "_installed_reference", lambda: tmp_path / "installed" / "lenet")
    shutil.copytree(models / "lenet", tmp_path / "installed" / "lenet")
    as_if_made_elsewhere(tmp_path / "installed" / "lenet", platform=elsewhere())
    before = {path: path.read_bytes() for path in (tmp_path / "installed").rglob("*") if path.is_file()}
    mine = {"MNIST_EDGE_PROOFS_DIR": str(tmp_path / "proofs")}
    place = ("--models-dir", tmp_path / "none")
    picture = picture_of(seven, tmp_path)
    first = run_command("predict", picture, *place, env=mine)
    assert "prove it: mnist-edge verify lenet" in first.stderr
    done = run_command("verify", "lenet", "--data", "drawn", "--runtime", "ort", *place, env=mine)
    assert f"kept in {tmp_path / 'proofs'}, for this user alone: the installed reference is never written to" in done.stderr
    assert run_command("predict", picture, "--require-proof", *place, env=mine).stderr.count("not proven") == 0
    assert {path: path.read_bytes() for path in (tmp_path / "installed").rglob("*") if path.is_file()} == before


def test_an_unproven_row_is_called_so_beside_a_proven_one(run_command: Command, models: Path) -> None:
    """An artifact that was forced here and proven elsewhere is a proven one, but its first row is no proof."""
    manifest = Manifest.read(models / "lenet")
    forced = {}
    for one in manifest.artifacts:
        proof = one.proofs[0]
        weak = replace(proof, parity=proof.parity | {"unproven": "too few"})
        forced[one.file] = replace(one, proofs=(weak, replace(proof, platform=elsewhere())))
    replace(manifest, artifacts=tuple(forced.values())).write(models / "lenet")
    shown = run_command("show", "lenet", "--models-dir", models).stdout
    rows = [line for line in shown[shown.index("proof of") :].splitlines() if line.startswith("lenet.onnx")]
    assert [line.startswith("lenet.onnx (unproven)") for line in rows] == [True, False]


@pytest.mark.parametrize("platform", [{"system": ""}, {"machine": ""}])
def test_a_platform_without_a_name_is_refused_when_it_is_read(run_command: Command, models: Path, platform: dict[str, str]) -> None:
    as_if_made_elsewhere(models / "lenet", platform=elsewhere() | platform)
    refused = run_command("show", "lenet", "--models-dir", models, check=1)
    assert "proofs[0].platform lacks the system or the machine" in refused.stderr


@pytest.mark.slow
def test_all_runtimes_that_fit_are_tried_and_the_others_are_named(run_command: Command, models: Path) -> None:
    done = run_command("verify", "lenet", "--data", "drawn", "--runtime", "all", "--json", "--models-dir", models, check=None)
    states = {(one["file"], one["runtime"]): one["state"] for one in json.loads(done.stdout)["artifacts"]}
    for runtime in ("ort", "openvino", "tract"):
        assert states["lenet.onnx", runtime] == "passed"
    assert states["lenet.torchscript.pt", "torchscript"] == "passed"
    assert ("lenet.torchscript.pt", "ort") not in states and ("lenet.onnx", "torch") not in states
    assert states["lenet.onnx", "ort-web"] in ("passed", "skipped")
    if states["lenet.onnx", "ort-web"] == "skipped":
        assert "lenet.onnx on ort-web: runtime ort-web needs" in done.stderr
    kept = {proof.runtime for proof in store.find("lenet", models).artifact("ort").proofs}
    assert {"ort", "openvino", "tract"} <= kept


def test_an_option_typed_with_its_default_is_proven_as_without_it(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    option = Option("precision", "How to compute.", choices=("f32", "bf16"), default="f32")
    runtime = get("ort")._replace(options=(option,))
    artifact = store.find("lenet", models).artifact("ort")
    assert records.why_not_proven(artifact, runtime, {"precision": "f32"}) == ""
    assert "and --precision bf16 on" in records.why_not_proven(artifact, runtime, {"precision": "bf16"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("verify", "lenet", "--platform", ""), "--platform takes a name, such as aarch64; leave it out for this machine"),
        (("predict", "x.png", "--runtime", "all"), "all stands for every installed runtime, and works only with mnist-edge verify"),
        (("evaluate", "lenet", "--runtime", "all"), "all stands for every installed runtime, and works only with mnist-edge verify"),
    ],
)
def test_what_names_no_place_is_said(run_command: Command, models: Path, words: tuple[str, ...], message: str) -> None:
    assert f"error: {message}" in run_command(*words, "--models-dir", models, check=2).stderr


def proof(
    version: str = "1", images: int = 1000, platform: dict[str, object] | None = None, runtime: str = "ort", name: str = "mnist"
) -> Proof:
    budget = {"equal_answers": 1.0, "accuracy_drop": 0.0}
    return Proof("0", runtime, {"data": {"name": name}, "images": images, "budget": budget}, version, {}, platform)


def test_a_new_proof_takes_the_place_of_what_it_makes_needless() -> None:
    a, b = ({"system": "Linux", "machine": machine, "features": []} for machine in ("a", "b"))
    assert merged([proof(platform=a)], proof(platform=b)) == (proof(platform=a), proof(platform=b))
    assert merged([proof(platform=a)], proof("2", platform=a)) == (proof("2", platform=a),)
    assert merged([proof(platform=a)], proof(platform=a, name="drawn")) == (proof(platform=a),)  # the stronger one stays
    weaker_but_newer = proof("2", platform=a, name="drawn")
    assert merged([proof(platform=a)], weaker_but_newer) == (proof(platform=a), weaker_but_newer)
    assert merged([proof(platform=a)], proof(platform=a, runtime="tract")) == (proof(platform=a), proof(platform=a, runtime="tract"))
    assert merged([proof("", platform=None)], proof(platform=a)) == (proof(platform=a),)
    emulated = proof(platform=a | {"emulated": "qemu"})
    assert merged([proof("", platform=None)], emulated) == (proof("", platform=None), emulated)  # that was a real machine
    assert merged([proof("", 10_000)], proof(platform=a)) == (proof("", 10_000), proof(platform=a))
