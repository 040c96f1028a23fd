"""What the benchmark says is there, adds up, and comes from processes of its own."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image

from mnist_edge import store
from mnist_edge.benchmark import measure
from mnist_edge.benchmark.installed import installed_bytes
from mnist_edge.benchmark.latency import latencies
from mnist_edge.benchmark.measure import benchmark
from mnist_edge.common.errors import ModelError


@pytest.mark.proof
def test_every_artifact_and_the_network_get_a_row(
    run_command: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    monkeypatch.setattr(measure, "benchmark", lambda *arguments: measured.append(benchmark(*arguments)) or measured[0])
    done = run_command("benchmark", "lenet", "--models-dir", trained, "--rounds", "1", "--json", "--plot", "out/bench.png")
    document = json.loads(done.stdout)
    rows = {row["file"]: row for row in document["rows"]}
    assert {name: row["runtime"] for name, row in rows.items()} == {
        "lenet.onnx": "ort",
        "lenet.torchscript.pt": "torchscript",
        "weights.safetensors": "torch",
    }
    for name, row in rows.items():
        assert row["bytes"] == (trained / "lenet" / name).stat().st_size
        parts = [row[part] for part in ("start", "imports", "session", "first_answer")]
        assert min(parts) > 0
        assert row["cold_start"] == pytest.approx(sum(parts))
        assert 0 < row["latency_p50"] <= row["latency_p99"] < 1
        assert row["throughput"] > 100
        assert row["peak_memory"] > 20e6
    ort, torch = rows["lenet.onnx"], rows["weights.safetensors"]
    assert ort["equal_answers"] == ort["images"] == 1000
    assert torch["peak_memory"] > 2 * ort["peak_memory"]  # so it was not measured in a process that holds both
    assert torch["installed"] > 3 * ort["installed"]
    assert torch["imports"] > 2 * ort["imports"]
    assert document["threads"] == 1
    with Image.open(tmp_path / "out" / "bench.png") as drawn:
        assert drawn.width > 1000
    monkeypatch.setattr(measure, "benchmark", lambda *arguments: measured[0])  # the same once more, as text
    text = run_command("benchmark", "lenet", "--models-dir", trained, "--rounds", "1").stdout
    assert "cold start, ms" in text
    assert "lenet.torchscript.pt" in text


def test_wrong_wishes_are_refused_before_anything_is_measured(run_command: Command, models: Path) -> None:
    assert "must end in .png" in run_command("benchmark", "lenet", "--models-dir", models, "--plot", "a.svg", check=2).stderr


@pytest.mark.proof
def test_one_damaged_artifact_does_not_stop_the_rest(run_command: Command, models: Path, tmp_path: Path) -> None:
    (models / "lenet" / "lenet.onnx").write_bytes(b"damaged")
    (tmp_path / "numpy.py").write_text("raise SystemExit('of the working folder')")
    done = run_command("benchmark", "lenet", "--models-dir", models, "--rounds", "1", "--json", check=1)
    document = json.loads(done.stdout)
    assert [row["file"] for row in document["rows"]] == ["lenet.torchscript.pt", "weights.safetensors"]
    assert [one["at_fault"] for one in document["left_out"]] == [True]
    assert "error: " in done.stderr
    assert "refused, its SHA-256 is" in done.stderr


@pytest.mark.slow
def test_a_file_that_cannot_be_loaded_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = store.find("lenet", models)
    monkeypatch.setattr(store.Model, "path", lambda self, record: Path(__file__))
    monkeypatch.setattr(measure, "_from_weights", lambda: iter(()))
    with pytest.raises(ModelError, match=r"nothing to measure here: .*test_benchmark\.py: cannot be measured: .*cannot load it"):
        benchmark(model, rounds=1)


def test_blocks_of_one_method_come_in_shuffled_order() -> None:
    calls: list[str] = []

    def method(name: str) -> object:
        return lambda pixels: calls.append(name)

    times = latencies({"a": method("a"), "b": method("b")}, np.zeros((1, 1, 28, 28), np.uint8), blocks=6)  # type: ignore[dict-item]
    changes = sum(x != y for x, y in pairwise(calls))
    assert 2 <= changes <= 12  # blocks, not alternating calls
    assert len(times["a"]) > 18
    assert (times["b"] >= 0).all()


def test_installed_counts_what_is_required_too() -> None:
    numpy = installed_bytes("numpy")
    assert numpy is not None
    assert numpy > 20e6
    assert installed_bytes("onnxruntime") > numpy  # type: ignore[operator]
    assert installed_bytes("no-such-package") is None
