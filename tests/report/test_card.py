"""The card of a model: every line true, also of an odd model."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Command, train_small
from proving import with_parity

from mnist_edge import architectures, store
from mnist_edge.dataset import Dataset
from mnist_edge.report import card, figures, page, table
from mnist_edge.report.findings import Findings
from mnist_edge.report.origin import origin
from mnist_edge.report.write import write_report
from mnist_edge.store.retrain import training_command


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


def test_the_card_says_that_the_weights_are_an_average(found: Findings) -> None:
    manifest = found.model.manifest
    training = manifest.training | {"recipe": manifest.training["recipe"] | {"average": 0.998}}
    averaged = replace(found, model=store.Model(found.model.folder, replace(manifest, training=training)))
    assert "a running average of the weights, decay 0.998" in card.card(averaged, origin(averaged.model))
    assert "average of the weights" not in card.card(found, origin(found.model))


@pytest.mark.proof
def test_the_cards_command_trains_the_same_weights_again(
    tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset, run_command: Command, run_process: Command
) -> None:
    recipe = architectures.find("resnet-tiny").best.changed(epochs=1, batch_size=100, lr=0.00123456789)
    changed = {"arguments": {"use_conv": True}, "seed": 3, "recipe": recipe, "threads": 1}
    model = train_small(tmp_path / "first", "resnet-tiny", data=drawn_train, test=drawn_test, name="my model", **changed)
    run_process(*shlex.split(origin(model).command)[1:])
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


@pytest.mark.slow
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
    artifacts = tuple(with_parity(one, data=other) for one in manifest.artifacts)
    mixed = replace(found, model=store.Model(found.model.folder, replace(manifest, artifacts=artifacts)))
    proven = f"{100 * artifacts[0].parity['accuracy']:.2f} % (mine)"
    assert proven in card.card(mixed, origin(mixed.model))
    assert proven in table.table([table.Row(mixed, {})])
    assert figures.artifacts(mixed) != figures.artifacts(found)
