"""`predict` and `evaluate` on pictures, as a user types them."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image

from mnist_edge import Predictor, image
from mnist_edge.dataset import drawn
from mnist_edge.dataset.folder import write_folder

REFERENCE = Path(__file__).resolve().parents[2] / "models" / "lenet"


@pytest.fixture
def sheet(seven: np.ndarray, tmp_path: Path) -> Path:
    """A dark 7 on a light sheet of 600×400."""
    paper = Image.new("L", (600, 400), 235)
    paper.paste(Image.fromarray(235 - (seven * 0.8).astype(np.uint8)).resize((280, 280), Image.Resampling.BICUBIC), (200, 60))
    paper.save(tmp_path / "sheet.png")
    return tmp_path / "sheet.png"


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_files_folders_patterns_and_standard_input(run_command: Command, models: Path, sheet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "none").mkdir()
    for place in ("b.png", "a.PNG", "deep/c.jpg", "deep/deeper/d.bmp"):
        Image.open(sheet).save(folder / place)
    (folder / "notes.txt").write_text("no picture")
    given = ("none", "many", "sheet.png", "missing.png", "many/*.png", "many/**/*.jpg")
    done = run_command("predict", *given, "--models-dir", models, "--json", check=1)
    answers = lines(done.stdout)
    found = ["none", "many/a.PNG", "many/b.png", "sheet.png", "missing.png", "many/b.png", "many/deep/c.jpg"]
    assert [line["path"] for line in answers] == found  # in the order in which they were named
    assert [line["path"] for line in answers if "error" in line] == ["none", "missing.png"]
    assert len({line["digit"] for line in answers if "error" not in line}) == 1
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 2
    deep = run_command("predict", "many", "--recursive", "--models-dir", models, "--json")
    assert [line["path"] for line in lines(deep.stdout)] == ["many/a.PNG", "many/b.png", "many/deep/c.jpg", "many/deep/deeper/d.bmp"]
    with sheet.open("rb") as file:
        piped = run_command("predict", "-", "--models-dir", models, "--json", stdin=file)
    assert lines(piped.stdout)[0]["digit"] == answers[3]["digit"]


def test_a_line_says_all_there_is_to_know(run_command: Command, sheet: Path) -> None:
    done = run_command("predict", sheet, "--model", REFERENCE, "--json")
    (line,) = lines(done.stdout)
    expected = Predictor.load(REFERENCE).predict(sheet)
    assert line["digit"] == 7 == expected.digit
    assert line["confidence"] == pytest.approx(expected.confidence)
    assert line["probabilities"] == pytest.approx(expected.probabilities)
    assert line["warnings"] == []
    assert line["ink"] == "dark"
    left, top, right, bottom = line["box"]  # type: ignore[misc]
    assert 200 <= left < right <= 480
    assert 60 <= top < bottom <= 340
    assert line["milliseconds"] > 0  # type: ignore[operator]
    table = run_command("predict", sheet, "--model", REFERENCE).stdout.splitlines()
    assert table[0].split() == ["digit", "confidence", "picture"]
    assert table[1].split()[0] == "7"
    assert table[1].endswith(str(sheet))


def test_csv_has_a_row_a_picture(run_command: Command, models: Path, sheet: Path, tmp_path: Path) -> None:
    shutil.copy(sheet, tmp_path / 'a, "b".png')
    done = run_command("predict", sheet, 'a, "b".png', "missing.png", "--models-dir", models, "--csv", check=1)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["path"] for row in rows] == [str(sheet), 'a, "b".png', "missing.png"]
    assert rows[0]["digit"] == rows[1]["digit"]
    assert sum(float(rows[0][f"p{digit}"]) for digit in range(10)) == pytest.approx(1, abs=1e-4)
    assert (rows[2]["digit"], rows[2]["error"]) == ("", "missing.png: no such file")


def test_an_answer_below_the_confidence_asked_for_is_none(run_command: Command, models: Path, sheet: Path) -> None:
    done = run_command("predict", sheet, "--models-dir", models, "--json", "--min-confidence", "1", check=1)
    (line,) = lines(done.stdout)
    assert line["digit"] is None
    assert "unsure" in str(line["error"])
    assert 0 < line["confidence"] < 1  # type: ignore[operator]
    assert "--min-confidence is 100.0 %" in done.stderr
    assert "digit" not in run_command("predict", sheet, "--models-dir", models, "--min-confidence", "1", check=1).stdout


def test_an_answer_below_the_models_own_threshold_is_doubted(run_command: Command, models: Path, sheet: Path) -> None:
    threshold = json.loads(run_command("show", "lenet", "--json").stdout)["scores"]["confidence"]
    assert 0 < threshold["threshold"] <= 1
    assert threshold["reliable"] == 0.999
    assert f"at a confidence of {100 * threshold['threshold']:.2f} % or more" in run_command("show", "lenet").stdout
    predictor = Predictor.load("lenet", models_dir=models)
    assert predictor.threshold == threshold["threshold"]
    predictor.threshold = 1.0
    assert predictor.predict(sheet).warnings == ("low confidence: this model is reliable at 100.00 % or more",)
    predictor.threshold = 0.0
    assert predictor.predict(sheet).warnings == ()


def test_what_the_network_sees_can_be_written_and_drawn(run_command: Command, models: Path, sheet: Path, tmp_path: Path) -> None:
    run_command("predict", sheet, "--models-dir", models, "--save-input", "seen.png", "--explain", "explained.png")
    seen = np.asarray(Image.open(tmp_path / "seen.png"))
    assert (seen == image.read(sheet)).all()
    drawing = np.asarray(Image.open(tmp_path / "explained.png").convert("RGB")).astype(int)
    enlarged = np.kron(seen, np.ones((10, 10), np.uint8))
    panel = np.stack([enlarged] * 3, axis=2)
    assert any(  # the 28×28, ten times as large, is somewhere in it
        (drawing[y : y + 280, x : x + 280] == panel).all() for y in range(drawing.shape[0] - 279) for x in (328,)
    )
    (tmp_path / "more").mkdir()
    shutil.copy(sheet, tmp_path / "more" / "sheet.png")
    run_command("predict", sheet, "more", "--models-dir", models, "--explain", "explained")
    assert sorted(p.name for p in (tmp_path / "explained").iterdir()) == ["sheet-2.png", "sheet.png"]


def test_the_ink_can_be_told(run_command: Command, models: Path, sheet: Path) -> None:
    """Wrongly, too: then the paper inside the digit is taken for ink, and something else comes out."""
    answers = {}
    for ink in ("auto", "dark", "light"):
        (answers[ink],) = lines(run_command("predict", sheet, "--ink", ink, "--models-dir", models, "--json", check=None).stdout)
    assert answers["auto"]["probabilities"] == answers["dark"]["probabilities"] is not None
    assert answers["light"]["probabilities"] != answers["dark"]["probabilities"]


def test_no_picture_to_be_read_is_written_over(run_command: Command, models: Path, sheet: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(sheet, tmp_path / folder / "1.png")
    before = sheet.read_bytes()
    for arguments, message in (
        (("a/1.png", "b/1.png", "--save-input", "b"), "one of the pictures to read"),
        (("a", "--explain", "a"), "one of the pictures to read"),
        (("sheet.png", "--explain", "a/../sheet.png"), "one of the pictures to read"),
        (("sheet.png", "--explain", "same.png", "--save-input", "same.png"), "the same file"),
    ):
        assert message in run_command("predict", *arguments, "--models-dir", models, check=2).stderr
    assert {(tmp_path / name).read_bytes() for name in ("a/1.png", "b/1.png", "sheet.png")} == {before}
    assert not (tmp_path / "same.png").exists()


@pytest.mark.slow
def test_pngs_of_mnist_give_the_accuracy_of_its_bytes(run_command: Command, mnist_dir: Path, tmp_path: Path) -> None:
    from mnist_edge.dataset import load

    write_folder(load("mnist", "test", mnist_dir, 2000), tmp_path / "pictures")
    documents = [
        json.loads(run_command("evaluate", REFERENCE, "--data", data, "--data-dir", mnist_dir, "--json").stdout)
        for data in ("pictures", "mnist")
    ]
    assert documents[0]["images"] == 2000
    assert sorted(int(Path(case["path"]).stem) for case in documents[0]["wrong"]) == [
        case["index"] for case in documents[1]["wrong"] if case["index"] < 2000
    ]


def test_evaluate_on_a_folder_lists_and_draws_what_was_wrong(run_command: Command, models: Path, sheet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labelled"
    write_folder(drawn.draw("test", 60), folder)
    for digit in range(10):
        (folder / str(digit)).mkdir()
    for source in (folder / "test").glob("*/*.png"):
        source.rename(folder / source.parent.name / source.name)
    shutil.rmtree(folder / "test")
    shutil.copy(sheet, folder / "3" / "mislabelled.png")  # a 7
    Image.new("L", (80, 80), 200).save(folder / "4" / "blank.png")
    shutil.rmtree(folder / "9")
    done = run_command("evaluate", REFERENCE, "--data", "labelled", "--report", "wrong/report.png", "--json")
    document = json.loads(done.stdout)
    assert document["images"] == 54 + 2
    assert document["correct"] == document["images"] - len(document["wrong"]) - 1
    mislabelled = next(case for case in document["wrong"] if Path(case["path"]).name == "mislabelled.png")
    assert (mislabelled["label"], mislabelled["digit"]) == (3, 7)
    assert document["refused"] == [
        {"path": "labelled/4/blank.png", "label": 4, "reason": "no ink found: nothing stands out from the background"}
    ]
    assert document["by_class"][4]["images"] == 7
    assert document["by_class"][4]["correct"] <= 6
    assert document["by_class"][9] == {"digit": 9, "images": 0, "correct": 0, "accuracy": None}
    report = np.asarray(Image.open(tmp_path / "wrong" / "report.png").convert("L")).astype(int)
    seen = np.asarray(Image.fromarray(image.read(sheet)).resize((110, 110), Image.Resampling.NEAREST)).astype(int)
    height, width = report.shape
    assert any(  # what the network saw of the sheet is drawn somewhere
        (report[y : y + 110, x : x + 110] == seen).all() for y in range(height - 109) for x in range(24, width - 109, 2)
    )
    text = run_command("evaluate", REFERENCE, "--data", "labelled").stdout
    assert "wrong: labelled/3/mislabelled.png is 3, read as 7" in text
    assert "not read: labelled/4/blank.png is 4: no ink found" in text
