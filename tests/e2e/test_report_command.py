"""Reporting by the installed command."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Command

from mnist_edge.common.text import percent
from mnist_edge.store.marks import REFERENCE_MARK, marked

pytestmark = pytest.mark.slow


def test_the_command(run_command: Command, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run_command("train", "mlp-256", "--data", "drawn", "--train-images", "600", "--epochs", "1")
    run_command("train", "mlp-256", "--data", "drawn", "--train-images", "600", "--epochs", "1", "--seed", "1", "--models-dir", "others")
    run_command("export", "--format", "onnx", "--data", "drawn")
    done = run_command("report", "--all", "--seeds", "others", "--json")
    (document,) = json.loads(done.stdout)["models"]
    assert document["model"] == "mlp-256" and all(Path(tmp_path / file).is_file() for file in document["files"])
    text = (tmp_path / "models" / "README.md").read_text()
    assert "| [mlp-256](mlp-256/README.md) | 203,530 |" in text and "(2)" in text
    run_command("verify", "mlp-256")
    assert "--all reports every model" in run_command("report", "mlp-256", "--all", check=2).stderr
    assert "unknown model 'gruu'" in run_command("report", "gruu", check=2).stderr
    # a folder without other seeds
    (tmp_path / "none" / "notes").mkdir(parents=True)
    assert "--pictures models/README.md: not a folder" in run_command("report", "--pictures", "models/README.md", check=2).stderr
    request.getfixturevalue("one_figure")
    # and in a clone, where the table is that of the reference models
    table_of_a_clone = marked("with seeds that are not here", REFERENCE_MARK)
    (tmp_path / "models" / "README.md").write_bytes(table_of_a_clone)
    done = run_command("report", "--all", "--seeds", "none", "--json")
    assert "from another seed" in done.stderr and "notes" not in done.stderr
    assert json.loads(done.stdout)["table"] is None
    assert (tmp_path / "models" / "README.md").read_bytes() == table_of_a_clone


def test_one_model_that_cannot_be_reported_does_not_stop_the_rest(
    models: Path, one_figure: None, run_command: Command, tmp_path: Path
) -> None:
    run_command("train", "mlp-256", "--data", "drawn", "--train-images", "600", "--epochs", "1")
    shutil.copytree(models / "lenet", models / "damaged")  # whose answers are for other drawn digits than those here
    (models / "damaged" / "manifest.json").write_text("{")
    shutil.copytree(models / "mlp-256", models / "broken")
    (models / "broken" / "README.md").mkdir()
    (models / "notes").mkdir()
    done = run_command("report", "--all", "--json", check=1)
    assert [one["model"] for one in json.loads(done.stdout)["models"]] == ["mlp-256"]
    assert all(name in done.stderr for name in ("damaged", "lenet", "broken"))
    assert "notes" not in done.stderr
    assert "mlp-256" in (models / "README.md").read_text()
    assert "--seeds nowhere: no such folder" in run_command("report", "--all", "--seeds", "nowhere", check=2).stderr
    (models / "README.md").write_text("my own table")
    assert "not written by mnist-edge report" in run_command("report", "--all", check=2).stderr
    assert (models / "README.md").read_text() == "my own table"


def test_a_report_of_the_installed_reference_goes_into_the_models_folder(
    run_command: Command, one_figure: None, tmp_path: Path, mnist_dir: Path
) -> None:
    reference = Path(__file__).resolve().parents[2] / "models" / "lenet"
    before = sorted(path.name for path in reference.iterdir())
    done = run_command("report", "lenet", "--data-dir", mnist_dir)
    accuracy = json.loads((reference / "manifest.json").read_text())["scores"]["test_accuracy"]
    assert f"lenet: {percent(accuracy)} of 10,000 test images" in done.stdout
    assert (tmp_path / "models" / "lenet" / "report.html").is_file()
    assert sorted(path.name for path in reference.iterdir()) == before
