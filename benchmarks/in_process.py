"""The library against bare calls of onnxruntime, in one process. Prints a part of RESULTS.md."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import onnxruntime
from processes import verdict

from mnist_edge import Predictor
from mnist_edge.benchmark.latency import latencies
from mnist_edge.dataset import load
from mnist_edge.dataset.sources import find_mnist
from mnist_edge.proof.evaluation import evaluate

MODEL = Path(__file__).resolve().parents[1] / "models" / "lenet"
BATCH = 256


def main() -> None:
    """Measure and print."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(MODEL / "lenet.onnx"), options, providers=["CPUExecutionProvider"])
    predictor = Predictor.load(MODEL)

    def bare(pixels: np.ndarray) -> np.ndarray:
        return session.run(["logits"], {"pixels": pixels})[0]

    image = np.zeros((1, 1, 28, 28), np.uint8)
    image[:, :, 6:22, 13:16] = 255
    times = {name: float(np.median(t)) for name, t in latencies({"bare": bare, "ours": predictor.logits}, image, blocks=25).items()}

    raw = find_mnist().raw_dir
    if raw is None:
        raise SystemExit("error: MNIST is needed; set MNIST_EDGE_DATA_DIR")

    def evaluate_bare() -> float:
        pixels = np.fromfile(raw / "t10k-images-idx3-ubyte", np.uint8, offset=16).reshape(-1, 1, 28, 28)
        labels = np.fromfile(raw / "t10k-labels-idx1-ubyte", np.uint8, offset=8)
        answers = [bare(pixels[i : i + BATCH]).argmax(axis=1) for i in range(0, len(pixels), BATCH)]
        return float((np.concatenate(answers) == labels).mean())

    def evaluate_ours() -> float:
        return evaluate(predictor.logits, load("mnist", "test")).accuracy

    assert evaluate_bare() == evaluate_ours()
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(15):
        for name, function in (("bare", evaluate_bare), ("ours", evaluate_ours)):
            started = perf_counter()
            function()
            seconds[name].append(perf_counter() - started)
    whole = {name: median(values) for name, values in seconds.items()}
    print("| | bare calls | ours | ratio | aim, at most |")
    print("|---|---|---|---|---|")
    ratio = times["ours"] / times["bare"]
    print(f"| `Predictor.logits`, one image, µs | {1e6 * times['bare']:.1f} | {1e6 * times['ours']:.1f} | {verdict(ratio, 1.2)} | 1.2 |")
    ratio = whole["ours"] / whole["bare"]
    print(
        f"| 10,000 test images, reading included, ms | {1e3 * whole['bare']:.0f} | {1e3 * whole['ours']:.0f} | {verdict(ratio, 1.3)} | 1.3 |"
    )


if __name__ == "__main__":
    main()
