"""Reports: their figures are those of the answers, and nothing the user wrote is lost."""

import io
import json
import re
import shlex
import shutil
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, train_small
from PIL import Image, ImageColor

from mnist_edge import architectures, store
from mnist_edge.dataset import Dataset, describe
from mnist_edge.errors import ModelError, UsageError
from mnist_edge.evaluation import evaluate_logits
from mnist_edge.report import card, figures, page, table
from mnist_edge.report.findings import Bin, Findings, read_history
from mnist_edge.report.marked import REFERENCE_MARK, marked
from mnist_edge.report.origin import origin
from mnist_edge.report.theme import DARK, LIGHT
from mnist_edge.report.write import FIGURES, write_report
from mnist_edge.retrain import training_command


@pytest.fixture
def found(models: Path, drawn_test: Dataset) -> Findings:
    model = store.find("lenet", models)
    reference = model.manifest.reference_on(describe(drawn_test)["sha256"])
    assert reference is not None
    return Findings(model, drawn_test, store.read_reference(model, reference), read_history(model))


def answering(found: Findings, answers: list[int], confidences: list[float]) -> Findings:
    """Findings of which the first images are answered so, and so surely; there are no more images."""
    logits = np.zeros((len(answers), 10), np.float32)
    for row, (answer, confidence) in enumerate(zip(answers, confidences, strict=True)):
        logits[row] = np.log((1 - confidence) / 9)
        logits[row, answer] = np.log(confidence)
    return replace(found, data=found.data.first(len(answers)), logits=logits)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.alts: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        for name in ("src", "srcset", "href"):
            if values.get(name) is not None:
                self.sources.append((str(values.get("media", "")), str(values[name])))
        if tag == "img":
            self.alts.append(values.get("alt"))


def test_a_report_is_pictures_a_page_that_needs_nothing_else_and_a_card(found: Findings) -> None:
    write_report(found)
    written = write_report(found)  # over its own
    assert {path.name for path in written} == {f"{name}.png" for name in FIGURES} | {"report.html", "README.md"}
    page = Page((found.model.folder / "report.html").read_text())
    assert len(page.alts) == len(FIGURES) and all(page.alts)
    assert "script" not in page.tags and "link" not in page.tags
    for media, source in page.sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        picture = Image.open(io.BytesIO(b64decode(data))).convert("RGB")
        theme = DARK if "dark" in media else LIGHT
        assert picture.getpixel((0, picture.height - 1)) == ImageColor.getrgb(theme.paper)
    assert sum("dark" in media for media, _ in page.sources) == len(FIGURES)
    samples = Image.open(found.model.folder / "samples.png").convert("RGB")
    assert ImageColor.getrgb(LIGHT.panel) in {colour for _, colour in samples.getcolors(1 << 16) or []}  # which lies under each digit
    for name in FIGURES:
        assert Image.open(found.model.folder / f"{name}.png").width >= 600
    text = (found.model.folder / "README.md").read_text()
    assert f"{100 * found.evaluation.accuracy:.2f} %" in text
    for linked in re.findall(r"\]\(([^)]+)\)", text):
        assert (found.model.folder / linked).is_file()


def test_the_same_answers_give_the_same_picture(found: Findings) -> None:
    assert figures.confusion(found) == figures.confusion(found)


@pytest.mark.parametrize("wrong", ["all", "none"])
def test_every_figure_stands_a_model_that_is_always_wrong_or_never(found: Findings, wrong: str) -> None:
    labels = found.data.labels[:40].tolist()
    answers = [(label + 1) % 10 if wrong == "all" else label for label in labels]
    some = answering(found, answers, [0.9] * 40)
    for draw in FIGURES.values():
        assert min(Image.open(io.BytesIO(draw(some, LIGHT))).size) > 100


def test_no_label_shows_its_markup(found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's name may hold a $, so figures show text as it is, and must not hold any TeX of matplotlib's own."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    seen: list[str] = []
    plain = Figure.savefig

    def save(self: Figure, *arguments: object, **named: object) -> None:
        plain(self, *arguments, **named)  # type: ignore[arg-type]
        seen.extend(text.get_text() for text in self.findobj(Text) if text.get_visible())

    monkeypatch.setattr(Figure, "savefig", save)
    for draw in FIGURES.values():
        draw(found, LIGHT)
    assert len(seen) > 100
    assert not [text for text in seen if "$" in text]


def test_fewer_images_than_the_sample_grid_holds(found: Findings) -> None:
    assert Image.open(io.BytesIO(figures.samples(answering(found, [1, 2, 3], [0.5] * 3)))).width > 100


def test_wrong_answers_come_the_most_confident_first(found: Findings) -> None:
    labels = found.data.labels[:5].tolist()
    some = answering(
        found, [(labels[0] + 1) % 10, labels[1], (labels[2] + 1) % 10, labels[3], (labels[4] + 1) % 10], [0.6, 0.9, 0.99, 0.9, 0.7]
    )
    assert some.wrong() == [2, 4, 0]
    assert sum(one.count for one in some.confusions()) == 3


def test_calibration_counts_every_answer_once(found: Findings) -> None:
    bins = found.calibration()
    assert sum(one.answers for one in bins) == len(found.data)
    assert sum(one.right for one in bins) == found.evaluation.correct


def test_calibration_error_is_the_gap_between_promise_and_truth(found: Findings) -> None:
    labels = found.data.labels[:100].tolist()
    answers = [label if i < 70 else (label + 1) % 10 for i, label in enumerate(labels)]
    assert answering(found, answers, [0.9] * 100).calibration_error() == pytest.approx(0.2, abs=1e-6)
    assert answering(found, answers, [0.7] * 100).calibration_error() == pytest.approx(0.0, abs=1e-6)


def test_interval_of_a_share_is_wilsons() -> None:
    low, high = Bin(0.9, 1.0, 10, 9, 0.95).interval()  # the worked example of Brown, Cai and DasGupta's formula (4), 2001
    assert (low, high) == (pytest.approx(0.5958, abs=1e-3), pytest.approx(0.9821, abs=1e-3))


@pytest.mark.parametrize("name", ["README.md", "report.html", "mistakes.png"])
def test_a_file_of_the_users_own_is_not_overwritten(found: Findings, name: str) -> None:
    own = found.model.folder / name
    own.write_text("my notes")
    with pytest.raises(UsageError, match=rf"{name}: not written by mnist-edge report, so it stays"):
        write_report(found)
    assert own.read_text() == "my notes"
    assert not (found.model.folder / "samples.png").exists()


def test_a_folder_that_cannot_be_written_to_is_named(found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match=f"^{re.escape(str(found.model.folder))}: no permission"):
        write_report(found)


def test_the_card_of_a_reference_model_stays(found: Findings) -> None:
    card_of_a_clone = marked("with pictures that are not here", REFERENCE_MARK)
    (found.model.folder / "README.md").write_bytes(card_of_a_clone)
    written = [path.name for path in write_report(found)]
    assert "report.html" in written and "README.md" not in written
    assert (found.model.folder / "README.md").read_bytes() == card_of_a_clone


def test_the_card_says_how_to_make_what_is_not_kept(found: Findings) -> None:
    manifest = found.model.manifest
    large = [replace(one, file=f"large-{one.file}", precision="int8-static") for one in manifest.artifacts]
    without = replace(found, model=store.Model(found.model.folder, replace(manifest, artifacts=())))
    text = card.card(without, origin(without.model), has_weights=False, not_kept=large)
    assert "| large-lenet.onnx¹ |" in text
    commands = text.split("This makes it again:")[1].split("```")[1].splitlines()[1:]
    assert commands[0].startswith("mnist-edge train lenet ")
    assert set(commands[1:]) == {f"mnist-edge export lenet --format {one.format} --quantize static" for one in large}


def test_the_card_names_what_is_there(found: Findings) -> None:
    text = card.card(found, origin(found.model))
    assert "| lenet.onnx |" in text and "| lenet.torchscript.pt |" in text
    assert "the tutorial reports 98.11 %" in text
    without = replace(found, model=store.Model(found.model.folder, replace(found.model.manifest, artifacts=())))
    text = card.card(without, origin(without.model))
    assert "No exported file is here" in text and "## How to use it" not in text


def test_the_cards_command_trains_the_same_weights_again(
    tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset, run_command: Command
) -> None:
    recipe = architectures.find("resnet-tiny").best.changed(epochs=1, batch_size=100, lr=0.00123456789)
    changed = {"arguments": {"use_conv": True}, "seed": 3, "recipe": recipe, "threads": 1}
    model = train_small(tmp_path / "first", "resnet-tiny", data=drawn_train, test=drawn_test, name="my model", **changed)
    run_command(*shlex.split(origin(model).command)[1:])
    assert store.find("my model", tmp_path / "models").manifest.weights.sha256 == model.manifest.weights.sha256
    # where the network's own recipe is not known, every option is given
    without = training_command(model.manifest, "again", models_dir=tmp_path / "second")
    run_command(*shlex.split(without)[1:])
    assert store.find("again", tmp_path / "second").manifest.weights.sha256 == model.manifest.weights.sha256


def test_card_and_page_promise_the_same_bits_only_where_the_recipe_is_still_the_networks_own(found: Findings) -> None:
    manifest = found.model.manifest

    def texts(recipe: dict[str, object]) -> list[str]:
        changed = replace(found, model=store.Model(found.model.folder, replace(manifest, training=manifest.training | {"recipe": recipe})))
        return [card.card(changed, origin(changed.model)), page.page(changed, origin(changed.model), {})]

    own = architectures.find("lenet").best.to_json()
    assert all("the same bits" in text for text in texts(own | {"epochs": 7}))
    assert not any("the same bits" in text for text in texts(own | {"weight_decay": 0.3}))


def test_a_name_that_is_no_plain_word(found: Findings, tmp_path: Path) -> None:
    folder = tmp_path / "odd" / r"a | b $\foo$ <i>(x)"
    shutil.copytree(found.model.folder, folder)
    odd = replace(found, model=store.Model.read(folder))
    write_report(odd)
    assert "<i>" not in (folder / "report.html").read_text()
    row = next(line for line in table.table([table.Row(odd, {})]).splitlines() if "foo" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 1 + len(table.table([table.Row(odd, {})]).splitlines()[0].strip("|").split("|"))
    assert " " not in re.search(r"\]\(([^)]+/README\.md)\)", row)[1]  # type: ignore[index]


def test_a_figure_of_another_data_set_says_so(found: Findings) -> None:
    manifest = found.model.manifest
    other = {"name": "folder:mine", "split": "test", "images": 40, "sha256": "0" * 64}
    artifacts = tuple(replace(one, parity=one.parity | {"data": other}) for one in manifest.artifacts)
    mixed = replace(found, model=store.Model(found.model.folder, replace(manifest, artifacts=artifacts)))
    proven = f"{100 * artifacts[0].parity['accuracy']:.2f} % (mine)"
    assert proven in card.card(mixed, origin(mixed.model))
    assert proven in table.table([table.Row(mixed, {})])
    assert figures.artifacts(mixed) != figures.artifacts(found)


def test_a_model_that_was_trained_anew_meanwhile_gets_no_old_report(found: Findings, drawn_train: Dataset, drawn_test: Dataset) -> None:
    train_small(found.model.folder.parent, data=drawn_train, test=drawn_test, seed=5)
    with pytest.raises(ModelError, match="trained anew meanwhile"):
        write_report(found)
    assert not (found.model.folder / "report.html").exists()


def seeded(found: Findings, seed: int, accuracy: float = 0.5, **changes: object) -> store.Model:
    manifest = found.model.manifest
    changed = replace(manifest, training=manifest.training | {"seed": seed} | changes, scores=manifest.scores | {"test_accuracy": accuracy})
    return store.Model(found.model.folder, changed)


def test_the_table_has_a_row_a_model_and_the_spread_over_seeds(found: Findings) -> None:
    others = [seeded(found, seed, accuracy) for seed, accuracy in ((1, 0.9), (2, 0.92), (2, 0.1))]
    text = table.table([table.Row(found, {"lenet.onnx": 25e-6}, table.siblings(found.model, others))])
    row = next(line for line in text.splitlines() if "[lenet](lenet/README.md)" in line)
    mean = (found.evaluation.accuracy + 0.9 + 0.92) / 3
    assert "61,706" in row and "25 µs" in row and "98.11 %" in row and f"{100 * mean:.2f} % ±" in row and "(3)" in row


def test_accuracies_on_different_test_sets_are_not_ranked(found: Findings) -> None:
    rows = [table.Row(found, {}), table.Row(found, {})]
    assert "Most accurate: lenet and lenet, " in table.table(rows)
    other = replace(found, data=found.data.first(100), logits=found.logits[:100])
    assert "Most accurate" not in table.table([rows[0], table.Row(other, {})])


def test_siblings_differ_by_the_seed_alone(found: Findings) -> None:
    recipe = found.model.manifest.training["recipe"]
    other_seed, other_recipe = seeded(found, 1), seeded(found, 1, recipe=recipe | {"epochs": 9})
    augmentation = {key: value for key, value in recipe["augmentation"].items() if key != "elastic"}
    older = seeded(found, 2, recipe={key: value for key, value in recipe.items() if key != "precision"} | {"augmentation": augmentation})
    assert table.siblings(found.model, [found.model, other_seed, other_recipe, older]) == [other_seed, older]


def test_the_command(run_command: Command, tmp_path: Path) -> None:
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
    done = run_command("report", "--all", "--seeds", "none")
    assert "holds no other seed" in done.stderr and "notes" not in done.stderr
    assert "--pictures models/README.md: not a folder" in run_command("report", "--pictures", "models/README.md", check=2).stderr
    # in a clone the table is that of the reference models
    table_of_a_clone = marked("with seeds that are not here", REFERENCE_MARK)
    (tmp_path / "models" / "README.md").write_bytes(table_of_a_clone)
    done = run_command("report", "--all", "--json")
    assert json.loads(done.stdout)["table"] is None
    assert (tmp_path / "models" / "README.md").read_bytes() == table_of_a_clone


def test_one_model_that_cannot_be_reported_does_not_stop_the_rest(models: Path, run_command: Command, tmp_path: Path) -> None:
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


def test_a_report_of_the_installed_reference_goes_into_the_models_folder(run_command: Command, tmp_path: Path, mnist_dir: Path) -> None:
    reference = Path(__file__).resolve().parents[1] / "models" / "lenet"
    before = sorted(path.name for path in reference.iterdir())
    done = run_command("report", "lenet", "--data-dir", mnist_dir)
    assert "99.59 %" in done.stdout
    assert (tmp_path / "models" / "lenet" / "report.html").is_file()
    assert sorted(path.name for path in reference.iterdir()) == before


def test_logits_are_compared_with_labels(drawn_test: Dataset) -> None:
    logits = np.eye(10, dtype=np.float32)[drawn_test.labels]
    assert evaluate_logits(logits, drawn_test).accuracy == 1.0


def test_a_model_without_its_weights_runs_and_says_how_to_get_them(models: Path, run_command: Command, picture: Path) -> None:
    (models / "lenet" / "weights.safetensors").unlink()
    place = ("--models-dir", models)
    run_command("predict", picture, "--model", "lenet", *place)
    run_command("verify", "lenet", "--quick", "--runtime", "ort", *place)
    run_command("list", *place)
    said = run_command("export", "lenet", "--format", "onnx", "--data", "drawn", *place, check=1).stderr
    assert "mnist-edge train lenet --epochs 3 --batch-size 64" in said and "--train-images 1200" in said
