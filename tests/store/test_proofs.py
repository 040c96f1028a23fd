"""What a proof says of where it was made, which of two stays, and when an artifact counts as proven."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_edge import runtimes, store
from mnist_edge.proof import records
from mnist_edge.runtimes import platforms
from mnist_edge.store.manifest import Artifact, quantize_of
from mnist_edge.store.proofs import Proof, is_weaker, kind_of, merged

HERE = {"system": "Linux", "machine": "x86_64", "features": ["avx2", "fma"], "processor": "one", "emulated": ""}
PI = {"system": "Linux", "machine": "aarch64", "features": ["asimd"]}


def proof(images: int = 10_000, platform: dict[str, Any] | None = HERE, **changes: Any) -> Proof:
    budget = {"equal_answers": 1.0, "logit_difference": 1e-4, "accuracy_drop": 0.0}
    parity = {"data": {"name": changes.pop("data", "mnist")}, "images": images, "budget": budget | changes.pop("budget", {})}
    if unproven := changes.pop("unproven", ""):
        parity["unproven"] = unproven
    return Proof(**({"artifact": "0", "runtime": "ort", "parity": parity, "version": "1.0", "platform": platform} | changes))


def test_platforms_of_a_kind_differ_in_their_names_alone() -> None:
    assert kind_of(HERE) == kind_of(HERE | {"processor": "another", "emulated": "qemu"})
    assert kind_of(None) is None
    for other in ({"system": "Darwin"}, {"machine": "i686"}, {"features": ["avx2"]}):
        assert kind_of(HERE) != kind_of(HERE | other)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"version": "2.0"}, True),
        ({"artifact": "1"}, False),
        ({"runtime": "openvino"}, False),
        ({"options": {"threads": 2}}, False),
        ({"platform": PI}, False),
        ({"platform": None}, False),
    ],
)
def test_a_newer_proof_takes_the_place_of_its_like_alone(changes: dict[str, Any], same: bool) -> None:
    old, new = proof(), proof(**changes)
    assert old.is_of_same_place(new) is same is new.is_of_same_place(old)
    assert old.is_replaced_by(new) is same
    assert merged([old], new) == ((new,) if same else (old, new))


def test_a_proof_that_does_not_say_where_it_was_made_gives_way() -> None:
    old = proof(platform=None, version="")
    assert old.is_replaced_by(proof()) and not old.is_of_same_place(proof())
    assert merged([old], proof()) == (proof(),)
    assert not old.is_replaced_by(proof(runtime="tract"))
    assert merged([old], proof(1_000)) == (old, proof(1_000))  # but not to a weaker one


def test_a_weaker_proof_is_left_out_and_stands_beside_one_of_another_release() -> None:
    strong, weak = proof(), proof(1_000)
    assert merged([strong], weak) == (strong,)
    newer = replace(weak, version="2.0")
    assert merged([strong], newer) == (strong, newer)
    assert merged([strong, newer], strong) == (strong,)
    assert merged([weak, proof(platform=PI)], strong) == (proof(platform=PI), strong)
    assert merged(iter([weak]), strong) == (strong,)


def test_a_proof_is_described_by_what_it_covers() -> None:
    assert proof(1000, data="drawn").describe() == "on 1,000 test images of drawn digits"
    assert proof(budget={"equal_answers": 0.997}).describe() == "on 10,000 test images of MNIST, at least 99.70 % equal"
    assert proof(1, unproven="too few").describe() == "on 1 test image of MNIST (unproven)"
    assert proof(unproven="too few").unproven == "too few" and proof().unproven == ""


def test_a_budget_without_a_drop_allows_any() -> None:
    """As in manifests of schema 1."""
    old, loose, tight = proof(), proof(budget={"accuracy_drop": 1.0}), proof(budget={"accuracy_drop": 0.9})
    del old.parity["budget"]["accuracy_drop"]
    assert not is_weaker(old, loose) and not is_weaker(loose, old)
    assert is_weaker(old, tight) and not is_weaker(tight, old)


def artifact(*proofs: Proof, **changes: Any) -> Artifact:
    values = {"file": "lenet.onnx", "sha256": "0", "bytes": 1, "format": "onnx", "precision": "float32", "runtime": "ort"}
    return Artifact(**(values | {"oldest_runtime": "", "proofs": proofs} | changes))


def test_the_proof_that_counts_is_the_strongest_by_its_own_runtime() -> None:
    other, weak, strong = proof(60_000, runtime="tract"), proof(1_000), proof(platform=PI)
    assert artifact(other, weak).proof == weak
    assert artifact(weak, other).proof == weak
    assert artifact(weak, strong).proof == strong == artifact(strong, weak).proof
    assert artifact(strong, replace(strong, version="2")).proof.version == "1.0"  # of several the first
    assert artifact(other, weak, strong).parity == strong.parity
    assert artifact(other).proof == other


def test_an_unproven_artifact_is_called_so() -> None:
    forced = artifact(proof(unproven="1 test image is too few"))
    assert (forced.unproven, forced.label) == ("1 test image is too few", "lenet.onnx (unproven)")
    assert (artifact(proof()).unproven, artifact(proof()).label) == ("", "lenet.onnx")
    assert [quantize_of(p) for p in ("float32", "fp16", "int8-dynamic", "int8-static")] == ["none", "fp16", "dynamic", "static"]
    assert artifact(proof(), precision="int8-static").quantize == "static"


def test_an_artifact_says_what_it_takes_and_gives() -> None:
    """The contract, as a program that reads the manifest finds it."""
    assert artifact(proof()).inputs == [{"name": "pixels", "dtype": "uint8", "shape": ["N", 1, 28, 28]}]
    assert artifact(proof()).outputs == [{"name": "logits", "dtype": "float32", "shape": ["N", 10]}]


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> runtimes.Runtime:
    monkeypatch.setattr(platforms, "_here", platforms.Platform.from_json(HERE))
    return runtimes.get("ort")


def test_a_proof_counts_where_release_options_and_machine_are_its_own(ort: runtimes.Runtime) -> None:
    version, here = ort.version(), platforms.here()
    own = proof(version=version)
    assert records.is_proof_of(own, version, here) and records.why_not_proven(artifact(own), ort) == ""
    for other in (proof(version="onnxruntime 1.0"), proof(version=version, platform=PI), proof(version=version, platform=None),
                  proof(version=version, options={"x": 1}), proof(version=version, unproven="few")):  # fmt: skip
        assert not records.is_proof_of(other, version, here)
        assert records.why_not_proven(artifact(other), ort)
        assert records.why_not_proven(artifact(proof(platform=PI), other), ort)
        assert not records.why_not_proven(artifact(own, other), ort)
    assert records.is_proof_of(proof(version=version, options={"x": 1}), version, here, {"x": 1})
    assert not records.is_proof_of(own, version, here, {"x": 1})
    assert records.why_not_proven(artifact(own), ort, {"x": 1})


def test_where_it_is_proven_is_said(ort: runtimes.Runtime) -> None:
    here = platforms.here().describe()
    said = records.why_not_proven(artifact(proof(platform=PI), proof(platform=None, version="")), ort)
    assert (
        said
        == f"not proven with {ort.version()} on {here}, only with 1.0 on Linux aarch64 with NEON and ort on a machine that was not recorded"
    )
    said = records.why_not_proven(artifact(proof(platform=PI), proof(version="onnxruntime 1.0"), proof(version="onnxruntime 1.1")), ort)
    # what other machines have does not matter then
    assert said == f"not proven with {ort.version()} on {here}, only with onnxruntime 1.0 and onnxruntime 1.1"
    said = records.why_not_proven(artifact(proof(runtime="tract")), ort)
    assert said == f"not proven with {ort.version()} on {here}, only with runtime tract"
    assert records.why_not_proven(artifact(proof(unproven="forced")), ort) == "forced"


def test_what_an_exporter_warned_of_is_a_doubt() -> None:
    assert records.doubts({}) == records.doubts({"warnings": []}) == ""
    assert records.doubts({"warnings": ["a", "b"]}) == "the exporter warned: a; b"


def test_what_is_recorded_of_a_report(trained: Path, drawn_test: Any) -> None:
    kept = store.find("lenet", trained).artifact("ort").parity
    assert kept["batches"] == [1, 2, 3, 5, 7, 8, 64, 256, 232]
    assert kept["data"]["sha256"] == drawn_test.sha256 and "unproven" not in kept
