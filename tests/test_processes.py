"""Several processes that torchrun starts: one result, whoever dies; one voice."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import KEPT_VARIABLES, Command, settings_for, sha256

from mnist_edge.cli.common import Output
from mnist_edge.cli.train import settle
from mnist_edge.common.errors import UsageError
from mnist_edge.dataset import Dataset
from mnist_edge.training.run import Run

HERE = Path(__file__).parent

LONG = ("train", "resnet-tiny", "--data", "drawn", "--train-images", "6000", "--epochs", "4")


def torchrun(*options: str, count: int = 2) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", *options]


@contextmanager
def started(folder: Path, *arguments: str, options: tuple[str, ...] = (), count: int = 2, **env: str) -> Iterator[subprocess.Popen[str]]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MNIST_EDGE_") or k in KEPT_VARIABLES}
    environment |= {"OMP_NUM_THREADS": "1"} | env  # else torchrun says that it sets this
    line = [*torchrun(*options, count=count), "-m", "mnist_edge", *arguments]
    process = subprocess.Popen(line, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def run(folder: Path, *arguments: str, check: int | None = 0, **more: str) -> tuple[str, str]:
    with started(folder, *arguments, **more) as process:  # type: ignore[arg-type]
        out, err = process.communicate(timeout=300)
        assert check is None or process.returncode == check, (process.returncode, out, err)
        return out, err


def ours(err: str) -> list[str]:
    """Return the lines that are not torchrun's, which reports every failure with a table and a traceback of its own."""
    return [line for line in err.partition("torch.distributed.elastic")[0].splitlines() if not re.match(r"[EWI]\d{4} ", line)]


def process_of(torchrun: int, rank: int) -> int | None:
    """Return the process of a rank."""
    for child in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    return None


def kill_after_an_epoch(process: subprocess.Popen[str], run_folder: Path, rank: int) -> int:
    """Kill the process of a rank once the next checkpoint is written; return its number."""
    checkpoint = run_folder / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
        assert process.poll() is None
        time.sleep(0.005)
    found = process_of(process.pid, rank)
    assert found is not None
    os.kill(found, signal.SIGKILL)
    return found


def test_a_run_of_two_processes_is_not_resumed_by_one(tmp_path: Path, drawn_train: Dataset) -> None:
    two = settings_for(drawn_train, processes=2)
    with Run(tmp_path, "lenet") as run:
        run.start(two)
        assert settle(run, two, {}, True, Output(False)) == two
        with pytest.raises(UsageError, match=r"started with 2 processes, not 1; start the same number \(torchrun --nproc-per-node\)"):
            settle(run, replace(two, processes=1), {}, True, Output(False))


@pytest.mark.proof
def test_processes_share_batches_gradients_and_running_means(tmp_path: Path) -> None:
    subprocess.run([*torchrun(), str(HERE / "together.py"), str(tmp_path)], check=True, timeout=300)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first.pop("share") + second.pop("share") == list(range(10, 17))
    assert first == second == {
        "first": {"said": [1, 2]},
        "gradients": [[[3.0] * 3] * 2, [[5.0] * 3] * 2, None],
        "figures": [2.0, 7.0],
        "mean": [first["mean"][0], 1.0, 7.0, 0.1],
        "seen": 4,
    }  # fmt: skip


@pytest.mark.proof
def test_killed_in_any_process_and_resumed_a_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    out, err = run(tmp_path, *LONG, "--json", "--name", "undisturbed")
    document = json.loads(out)  # one process prints
    assert document["training"]["processes"] == 2
    assert [line.split()[1] for line in ours(err) if line.startswith("epoch")] == ["1/4", "2/4", "3/4", "4/4"]

    for rank in (1, 0):  # the first epoch is resumed after the second process died, the next one after the first died
        with started(tmp_path, *LONG, "--name", "killed", "--resume") as process:
            killed = kill_after_an_epoch(process, tmp_path / "models/.runs/killed", rank)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 1
            assert err.count("Traceback (most recent call last)") == 1, err  # torchrun's
            assert re.search(rf"exitcode +: -9 \(pid: {killed}\)", err), err  # the other's failure may be named first
            if rank == 1:  # torchrun may end the first process before it can tell, too
                assert sum(line.startswith("error: ") for line in ours(err)) <= 1, err
    assert not (tmp_path / "models" / "killed").exists()
    run(tmp_path, *LONG, "--name", "killed", "--resume")

    with started(tmp_path, *LONG, "--name", "restarted", options=("--max-restarts=1",)) as process:
        kill_after_an_epoch(process, tmp_path / "models/.runs/restarted", 1)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    for name in ("killed", "restarted"):
        assert sha256(tmp_path / "models" / name / "weights.safetensors") == sha256(tmp_path / "models/undisturbed/weights.safetensors"), (
            name
        )
    assert not list((tmp_path / "models" / ".runs").glob("[a-z]*"))


@pytest.mark.proof
def test_three_processes_take_the_steps_of_one(tmp_path: Path, run_process: Command) -> None:
    """A network without chance and without BatchNorm: only the order of sums differs."""
    options = ("train", "mlp-256", "--recipe", "tutorial", "--data", "drawn", "--train-images", "3000", "--epochs", "2", "--json")
    alone = json.loads(run_process(*options, "--name", "alone", "--threads", "1").stdout)
    together = json.loads(run(tmp_path, *options, "--name", "together", count=3)[0])  # type: ignore[arg-type]
    assert abs(alone["scores"]["test_correct"] - together["scores"]["test_correct"]) <= 10  # of 10,000
    rows = [
        [json.loads(line) for line in (tmp_path / "models" / n / "history.jsonl").read_text().splitlines()] for n in ("alone", "together")
    ]
    for one, three in zip(*rows, strict=True):
        for key in ("loss", "validation_loss"):
            assert one[key] == pytest.approx(three[key], rel=1e-3), key
        for key in ("accuracy", "validation_accuracy"):
            assert one[key] == pytest.approx(three[key], abs=0.01), key  # 250 images are held out
    assert sha256(tmp_path / "models/alone/weights.safetensors") != sha256(tmp_path / "models/together/weights.safetensors")


FAULTY = """
import os, time
from torch import nn
class {name}(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)
        self.steps = 0
    def forward(self, x):
        self.steps += self.training
        if {when}:
            raise ValueError("a fault")
        return self.fc(x.flatten(1))
"""


@pytest.mark.proof
@pytest.mark.parametrize(
    ("when", "message"),
    [
        (
            "os.environ['RANK'] == '1' and self.steps == 4",
            r"error: process 2 of 2, on \S+: your network faulty:Net: ValueError: a fault .*",
        ),
        ("self.steps == 4", r"error: your network faulty:Net: ValueError: a fault .*in epoch 1, batch 4 of .*"),
        ("True", r"error: your network faulty:Net: ValueError: a fault \(faulty.py:\d+\)"),
    ],
)
def test_an_error_of_any_process_ends_all_and_is_told_once(tmp_path: Path, when: str, message: str) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY.format(name="Net", when=when))
    out, err = run(tmp_path, "train", "faulty:Net", "--data", "drawn", "--train-images", "1200", "--epochs", "2", "--json", check=1)
    errors = [line for line in ours(err) if line.startswith("error: ")]
    assert len(errors) == 1 and re.fullmatch(message, errors[0]), err
    assert json.loads(out)["error"] == errors[0].removeprefix("error: ")


@pytest.mark.proof
def test_what_cannot_be_asked_for_is_told_once(tmp_path: Path) -> None:
    _, err = run(tmp_path, "train", "lenet", "--data", "drawn", "--lr", "0.1", "--batch-size", "1", "--train-images", "240", check=1)
    assert sum(bool(re.search(r"leave none for one of 2 processes: take --batch-size [2-9]$", line)) for line in ours(err)) == 1, err
    assert not list((tmp_path / "models").glob("*"))
