"""`benchmarks/recipes.py`: a trial goes on where it stopped, is not mistaken for another one, and can teach."""

import json
from pathlib import Path

import pytest
import recipes
import torch

from mnist_edge import dataset as datasets
from mnist_edge.dataset import drawn


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    data = drawn.draw("train", 1200)
    monkeypatch.setattr(datasets, "load", lambda *_: data)

    def run(network: str, *words: str, keep: str = "new/trial.pt") -> list[dict[str, float]]:
        arguments = [network, "--held-out", "every-twelfth", "--keep", str(tmp_path / keep), *words]
        monkeypatch.setattr("sys.argv", ["recipes.py", *arguments])
        recipes.main()
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_a_finished_trial_says_nothing_more_and_is_not_mistaken_for_another(trial, tmp_path: Path) -> None:
    assert [row["epoch"] for row in trial("mlp-256", "--set", "epochs=2")] == [1, 2]  # its folder was not there
    assert trial("mlp-256", "--set", "epochs=2") == []
    trial("mlp-256", "--set", "epochs=1", keep="teacher.pt")
    two, teacher = ["--set", "epochs=2"], ["--teacher", str(tmp_path / "teacher.pt")]
    others = (["mlp-256", "--set", "epochs=3"], ["mlp-256", *two, "--seed", "1"], ["mlp-512", *two], ["mlp-256", *two, *teacher])
    for network, *words in others:
        with pytest.raises(SystemExit, match=r"trial\.pt: of another network, recipe, seed, teachers or data"):
            trial(network, *words)


def test_a_field_that_is_not_there_is_refused(trial, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        trial("mlp-256", "--set", "drwn=0.4")
    assert "drwn" in capsys.readouterr().err


def teacher_of(digit: int, keep: Path, logit: float = 1000) -> list[str]:
    """Make the kept network call every digit so."""
    kept = torch.load(keep, weights_only=True)
    last = list(kept["state"]["network"])[-1]
    kept["state"]["network"][last] = torch.eye(10)[digit] * logit
    torch.save(kept, keep)
    return ["--teacher", str(keep)]


def test_a_student_learns_its_teachers_answers(trial, tmp_path: Path) -> None:
    trial("mlp-256", "--set", "epochs=1", keep="a.pt")
    trial("mlp-256", "--set", "epochs=1", keep="b.pt")
    three, eight = teacher_of(3, tmp_path / "a.pt"), teacher_of(8, tmp_path / "b.pt", logit=30)  # the mean of their logits is a 3
    images = torch.from_numpy(drawn.draw("test", 100).images)
    trial("mlp-256", "--set", "epochs=2", *three)
    assert (recipes.network_of(tmp_path / "new/trial.pt")(images).argmax(dim=1) == 3).all()
    trial("mlp-256", "--set", "epochs=4", *three, *eight, keep="both.pt")
    likely = recipes.network_of(tmp_path / "both.pt")(images).softmax(dim=1).mean(dim=0).tolist()
    assert likely[3] == pytest.approx(0.5, abs=0.1)
    assert likely[8] == pytest.approx(0.5, abs=0.1)


def test_a_teacher_whose_weights_were_averaged_teaches_with_the_average(trial, tmp_path: Path) -> None:
    trial("mlp-256", "--set", "epochs=1", "--set", "average=0.9", keep="teacher.pt")
    kept = torch.load(tmp_path / "teacher.pt", weights_only=True)["state"]
    weights = recipes.network_of(tmp_path / "teacher.pt").network.state_dict()
    for name, value in weights.items():
        assert torch.equal(value, kept["average"][name])
        assert not torch.equal(value, kept["network"][name])
