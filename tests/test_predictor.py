import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge import Predictor
from mnist_edge.common.errors import ModelError, PictureError, UnknownNameError, UsageError
from mnist_edge.dataset import Dataset
from mnist_edge.predictor import predictions


def test_all_runtimes_answer_alike(trained: Path, drawn_test: Dataset) -> None:
    logits = [Predictor.load("lenet", runtime, models_dir=trained).logits(drawn_test.images) for runtime in ("ort", "torchscript", "torch")]
    assert logits[0].shape == (1000, 10)
    assert logits[0].dtype == np.float32
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], atol=1e-4, rtol=0)


def test_a_prediction_is_the_softmax_of_the_logits(trained: Path, seven: np.ndarray, tmp_path: Path) -> None:
    predictor = Predictor.load("lenet", models_dir=trained)
    Image.fromarray(seven).save(tmp_path / "seven.png")
    prediction = predictor.predict(tmp_path / "seven.png")
    logits = predictor.logits(seven[None, None])[0].astype(float)
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-6)
    assert prediction.digit == int(expected.argmax())
    assert prediction.confidence == max(prediction.probabilities)
    assert sum(prediction.probabilities) == pytest.approx(1)


def test_many_pictures_keep_their_order(trained: Path, drawn_test: Dataset) -> None:
    predictor = Predictor.load("lenet", models_dir=trained)
    pictures = [image[0] for image in drawn_test.images[:70]]
    many = list(predictor.predict_many(iter(pictures), batch_size=32))
    assert [p.digit for p in many] == [predictor.predict(picture).digit for picture in pictures]


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((1, 1, 28, 28), np.float32), np.zeros((28, 28), np.uint8), np.zeros((1, 28, 28, 1), np.uint8), [[0]]],
)
def test_pixels_of_another_kind_are_refused(trained: Path, pixels: object) -> None:
    with pytest.raises(PictureError, match="uint8, N×1×28×28"):
        Predictor.load("lenet", models_dir=trained).logits(pixels)  # type: ignore[arg-type]


def test_no_images_and_read_only_views_are_fine(trained: Path, drawn_test: Dataset) -> None:
    for runtime in ("ort", "torch", "torchscript"):
        predictor = Predictor.load("lenet", runtime, models_dir=trained)
        assert predictor.logits(drawn_test.images[:0]).shape == (0, 10)
        every_other = drawn_test.images[::-2]
        every_other.flags.writeable = False
        assert predictor.logits(every_other).shape == (500, 10)


def test_wrong_names_are_told_apart(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown runtime 'otr' \(did you mean 'ort'"):
        Predictor.load("lenet", "otr", models_dir=trained)
    with pytest.raises(UsageError, match="runtime ort does not run it; add: --runtime torchscript"):
        Predictor.load(trained / "lenet" / "lenet.torchscript.pt")
    with pytest.raises(UsageError, match="takes a model, not a file"):
        Predictor.load(trained / "lenet" / "lenet.onnx", "torch")
    with pytest.raises(ModelError, match="not an artifact"):
        Predictor.load(trained / "lenet" / "history.jsonl")


def test_a_lone_file_works_and_says_that_nothing_proves_it(trained: Path, tmp_path: Path, seven: np.ndarray) -> None:
    lone = shutil.copy(trained / "lenet" / "lenet.onnx", tmp_path / "lone.onnx")
    predictor = Predictor.load(lone)
    assert "unproven" in predictor.description
    assert predictor.predict(seven).digit in range(10)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="cannot load it"):
        Predictor.load(tmp_path / "text.onnx")


def test_an_answer_that_is_not_finite_is_no_digit() -> None:
    with pytest.raises(ModelError, match="NaN"):
        predictions(np.full((1, 10), np.nan, np.float32))


def test_loading_in_threads_leaves_the_filters_of_warnings_alone(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`catch_warnings` puts back what it found, and in threads that is another thread's: for good."""
    import threading
    import time
    import warnings

    import torch

    Predictor.load("lenet", "torchscript", models_dir=models)
    before, real, both = warnings.filters[:], torch.jit.load, threading.Barrier(2)

    def load(path: str, **options: object) -> object:
        order = both.wait(10)  # both are within
        time.sleep(0.2 * order)  # and leave one after the other
        return real(path, **options)

    monkeypatch.setattr(torch.jit, "load", load)
    threads = [threading.Thread(target=Predictor.load, args=("lenet", "torchscript"), kwargs={"models_dir": models}) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert warnings.filters == before
