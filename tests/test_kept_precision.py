"""Which lower precision of a reference model is kept: held-out training images say so, and nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import reference_models
from reference_models import Candidate, Plan, candidates, choose_precision

from mnist_edge import store
from mnist_edge.dataset import EVERY_TWELFTH, Dataset, split_validation
from mnist_edge.proof.parity import BUDGETS, compare

MODELS = Path(__file__).resolve().parents[1] / "models"


@pytest.fixture(scope="module")
def tried(drawn_train: Dataset) -> list[Candidate]:
    return candidates(store.Model.read(MODELS / "lenet"), drawn_train)


def test_each_precision_is_tried_on_the_held_out_images_alone(tried: list[Candidate], drawn_train: Dataset) -> None:
    _, held_out = split_validation(drawn_train, EVERY_TWELFTH)
    assert [one.quantize for one in tried] == ["fp16", "dynamic", "static"]
    assert {one.report.images for one in tried} == {len(held_out)} == {100}
    assert [one.report.budget for one in tried] == [BUDGETS[name] for name in ("fp16", "int8-dynamic", "int8-static")]


def test_the_smallest_that_fits_is_chosen(tried: list[Candidate]) -> None:
    fp16, dynamic, static = tried
    assert static.bytes < dynamic.bytes < fp16.bytes
    assert [one.fits for one in tried] == [True, False, True]
    assert choose_precision(tried) == "static"
    assert choose_precision([fp16, dynamic]) == "fp16"
    assert choose_precision([dynamic]) is None


def test_one_whose_answers_depend_on_the_batch_does_not_fit(tried: list[Candidate]) -> None:
    dynamic = tried[1]
    assert dynamic.report  # it keeps its budget, and is refused for this alone
    assert dynamic.batch_difference > reference_models.MOST_BATCH_DIFFERENCE > max(tried[0].batch_difference, tried[2].batch_difference)


def test_one_over_its_budget_does_not_fit(tried: list[Candidate], drawn_train: Dataset) -> None:
    fp16, dynamic, static = tried
    labels = drawn_train.labels[:1000]
    logits = (labels[:, None] == range(10)).astype("float32")
    other = logits.copy()
    other[:4] = other[:4, ::-1]
    over = compare(logits, other, labels, BUDGETS["int8-static"])
    assert len(over.changed) == 4
    assert choose_precision([fp16, dynamic, replace(static, report=over)]) == "fp16"


def test_a_plan_that_keeps_another_precision_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn_train: Dataset) -> None:
    shutil.copytree(MODELS / "lenet", tmp_path / "lenet")
    monkeypatch.setattr(reference_models.datasets, "load", lambda *_: drawn_train)
    with pytest.raises(SystemExit, match=r"lenet: held-out images choose static, not fp16: change PLANS\n\| lenet \| fp16 \| "):
        reference_models.export(Plan("lenet", "fp16"), tmp_path, None)
    reference_models.export(Plan("lenet", "static"), tmp_path, None)  # is there already


def test_what_is_kept_is_what_the_plans_say() -> None:
    for plan in reference_models.PLANS:
        kept = {one.quantize for one in store.Model.read(MODELS / plan.name).artifacts}
        assert kept <= {"none", plan.quantize}
