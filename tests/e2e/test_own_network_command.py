"""A network of the user's own, by the command: what it imports while it runs, what it has to be told, and what stays when it is stopped."""

from pathlib import Path

import pytest
from conftest import Command

from mnist_edge.store.publishing import RUNS
from mnist_edge.training import run as training_run

MINE = """
from torch import nn

class Needy(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, int(width)), nn.ReLU(), nn.Linear(int(width), 10))

    def forward(self, x):
        import beside  # as people do who fear a circle of imports
        return self.layers(beside.same(x))
"""

DATA = ("--data", "drawn", "--train-images", "240", "--epochs", "1")


@pytest.mark.slow
def test_an_own_network_the_whole_way(run_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "beside.py").write_text("def same(x):\n    return x\n")
    train = ("train", "mine:Needy", *DATA)
    for value in ("NaN", "Infinity", "1e999"):
        done = run_command(*train, "--set", f"width={value}", check=2)
        assert "--set width: a manifest cannot hold NaN or infinity" in done.stderr
    assert not (tmp_path / "models").exists()

    with monkeypatch.context() as patch:  # Ctrl-C while the network is tried
        patch.setattr(training_run, "check_network", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
        done = run_command(*train, "--set", "width=8", "--seed", "5", check=130)
    assert "Continue with: mnist-edge train mine:Needy --resume" in done.stderr
    assert (tmp_path / "models" / RUNS / "needy" / "run.json").exists()

    done = run_command("train", "mine:Needy", "--resume", "--data", "drawn", "--train-images", "240", "--json")
    assert '"seed": 5' in done.stdout
    run_command("export", "needy", "--format", "torchscript", "--data", "drawn", "--allow-network", "mine:Needy")
    done = run_command("export", "needy", "--format", "torchscript", "--data", "drawn", check=2)
    assert "--allow-network mine:Needy" in done.stderr


def test_a_model_without_its_weights_is_verified_on_what_is_stored(run_command: Command, models: Path, mnist_dir: Path) -> None:
    """Where MNIST came to the machine since, its answers were to be computed first, and that ended the command."""
    (models / "lenet" / "weights.safetensors").unlink()
    done = run_command("verify", "lenet", "--runtime", "ort", "--models-dir", models, "--data-dir", mnist_dir, check=None)
    assert "only its answers to drawn digits count" in done.stderr
    assert "weights.safetensors" in done.stderr
