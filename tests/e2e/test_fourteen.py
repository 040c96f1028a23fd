"""Every network of the tutorials, the whole way: trained a little, exported to both formats, proven, verified."""

from pathlib import Path

import numpy as np
import proving
import pytest
from conftest import train_small
from test_architectures import VARIANTS

from exporters import gate
from mnist_edge import Predictor
from mnist_edge.architectures.recipe import Recipe
from mnist_edge.dataset import Dataset

#: Trained in seconds; the others are proofs.
QUICK = ("lenet", "mlp-256")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [pytest.param(*variant, marks=[pytest.mark.slow if variant[0] in QUICK else pytest.mark.proof]) for variant in VARIANTS],
    ids=lambda value: value if isinstance(value, str) else "".join(value),
)
def test_trains_exports_and_verifies(
    name: str, arguments: dict[str, object], tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnist_edge.proof.records.SMALLEST", 100)  # what is tried is each network, not the size of a proof
    few, drawn_test = drawn_train.first(120), drawn_test.first(100)
    model = train_small(tmp_path, name, data=few, test=drawn_test, arguments=arguments, recipe=Recipe(epochs=1, batch_size=32, lr=1e-3))
    for format_name in ("onnx", "torchscript"):
        model, proof = gate.export(model, format_name, drawn_test)
        assert proof.artifact is not None, proof.report.failures
    results = proving.verify(model, model.manifest.references[0], drawn_test)
    assert [result.passed for result in results] == [True, True]
    reference = Predictor.load(model.folder, "torch").logits(drawn_test.images)
    for runtime in ("ort", "torchscript"):
        predictor = Predictor.load(model.folder, runtime)
        for batch in (1, 2, 3, 7, 64, 100):
            np.testing.assert_allclose(predictor.logits(drawn_test.images[:batch]), reference[:batch], atol=1e-4, rtol=0)


@pytest.mark.proof
@pytest.mark.parametrize("name", ["cnn-keras", "vgg"])
def test_the_large_networks_answer_in_c_too(
    name: str, tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those with no float32 file in models/. ResNet-18, of eleven million weights, is left out: a compiler needs minutes to read them."""
    monkeypatch.setattr("mnist_edge.proof.records.SMALLEST", 100)
    few, drawn_test = drawn_train.first(120), drawn_test.first(100)
    model = train_small(tmp_path, name, data=few, test=drawn_test, recipe=Recipe(epochs=1, batch_size=32, lr=1e-3))
    model, _ = gate.export(model, "onnx", drawn_test)
    model, proof = gate.export(model, "c", drawn_test, options={"target": ("none",)})
    assert proof.artifact is not None, proof.report.failures
    assert proof.report.max_difference <= 1e-4
