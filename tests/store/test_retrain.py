"""The command that makes a model again says all that is not as usual, and nothing else."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_edge import store
from mnist_edge.store import marks
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.retrain import is_expressible, recipe_of, training_command


@pytest.fixture
def manifest(trained: Path) -> Manifest:
    return store.find("lenet", trained).manifest


def changed(manifest: Manifest, recipe: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **training: Any) -> Manifest:
    body = dict(manifest.training)
    body["recipe"], body["data"] = body["recipe"] | (recipe or {}), body["data"] | (data or {})
    return replace(manifest, training=body | training)


def test_what_is_as_usual_is_left_out(manifest: Manifest) -> None:
    usual = changed(manifest, {"name": "best"}, {"name": "mnist", "images": 60_000}, seed=0, train_images=None)
    usual = replace(usual, licence="NOASSERTION")
    end = f"--threads {usual.training['threads']} --device cpu"
    assert training_command(usual, "lenet", recipe_of(usual)) == f"mnist-edge train lenet {end}"
    assert training_command(usual, "mine", recipe_of(usual)) == f"mnist-edge train lenet --name mine {end}"
    more = training_command(usual, "lenet", models_dir=Path("there is"))
    recipe = recipe_of(usual)
    options = f"--epochs {recipe['epochs']} --batch-size {recipe['batch_size']} --lr {recipe['lr']} --precision {recipe['precision']}"
    assert more == f"mnist-edge train lenet {options} {end} --models-dir 'there is'"


def test_what_is_not_as_usual_is_said(manifest: Manifest) -> None:
    usual = recipe_of(manifest)
    odd = changed(
        manifest, {"name": "tutorial", "lr": 0.5}, {"name": "folder:my digits", "images": 70_000}, seed=3, train_images=500, device="cuda"
    )
    odd = replace(odd, arguments={"width": 3, "kind": "wide", "as_text": "3", "on": True}, licence="MIT")
    words = shlex.split(training_command(odd, "lenet", usual))
    for option, value in (("--recipe", "tutorial"), ("--lr", "0.5"), ("--data", "my digits"), ("--seed", "3"), ("--train-images", "500"),
                          ("--device", "cuda"), ("--licence", "MIT"), ("--set", "width=3")):  # fmt: skip
        assert words[words.index(option) + 1] == value
    assert {"kind=wide", 'as_text="3"', "on=true"} < set(words)
    assert not {"--epochs", "--batch-size", "--precision", "--name"} & set(words)


@pytest.mark.parametrize(
    ("data", "asked", "said"),
    [
        ({"name": "mnist", "images": 59_999}, None, "59999"),
        ({"name": "mnist", "images": 60_000}, None, None),
        ({"name": "drawn", "images": 1200}, None, "1200"),
        ({"name": "drawn", "images": 59_999}, None, "59999"),
        ({"name": "drawn", "images": 60_000}, None, None),
        ({"name": "folder:x", "images": 1200}, None, None),
        ({"name": "folder:x", "images": 1200}, 600, "600"),
        ({"name": "mnist", "images": 60_000}, 100, "100"),
    ],
)
def test_a_part_of_the_images_is_said(manifest: Manifest, data: dict[str, Any], asked: int | None, said: str | None) -> None:
    words = shlex.split(training_command(changed(manifest, None, data, train_images=asked), "lenet"))
    assert (words[words.index("--train-images") + 1] if "--train-images" in words else None) == said


def test_recipes_of_older_manifests_are_completed(manifest: Manifest) -> None:
    augmentation = {"rotation": 1.0, "scale": 0.1, "shear": 0.1, "shift": 0.1}
    old = changed(manifest, {"augmentation": augmentation})
    del old.training["recipe"]["precision"]
    assert recipe_of(old)["precision"] == "float32"
    assert recipe_of(old)["augmentation"] == augmentation | {"elastic": 0.0, "pen": 0.0}
    assert recipe_of(changed(manifest, {"precision": "bfloat16", "augmentation": None}))["precision"] == "bfloat16"
    kept = changed(manifest, {"augmentation": augmentation | {"elastic": 0.5}})
    assert recipe_of(kept)["augmentation"]["elastic"] == 0.5


def test_a_recipe_that_no_option_gives_cannot_be_said(manifest: Manifest) -> None:
    usual = recipe_of(manifest)
    assert is_expressible(manifest, usual)
    assert is_expressible(changed(manifest, {"epochs": 99, "lr": 9.0, "batch_size": 1, "precision": "bfloat16"}), usual)
    assert not is_expressible(changed(manifest, {"weight_decay": 0.25}), usual)


def test_a_users_own_file_is_told_from_ours(tmp_path: Path) -> None:
    from mnist_edge.common.errors import UsageError

    card, own = tmp_path / "card.md", tmp_path / "own.md"
    card.write_bytes(marks.marked("hello"))
    own.write_text("hello")
    assert card.read_text() == f"<!-- {marks.MARK} -->\n\nhello"
    marks.check_ours(card)
    marks.check_ours(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    for path in (own, tmp_path / "folder"):
        with pytest.raises(UsageError, match="not written by mnist-edge report"):
            marks.check_ours(path)
    card.write_bytes(marks.marked("hello", marks.REFERENCE_MARK))
    assert marks.is_reference(card) and not marks.is_reference(own) and not marks.is_reference(tmp_path / "folder")
    own.write_text(f"# mine\n<!-- {marks.REFERENCE_MARK} -->\n")
    assert not marks.is_reference(own)


def test_a_picture_bears_the_mark(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "x.png"
    path.write_bytes(marks.marked_png(Image.new("L", (4, 4), 7)))
    marks.check_ours(path)
    with Image.open(path) as picture:
        assert picture.text["Comment"] == marks.MARK and picture.getpixel((0, 0)) == 7  # type: ignore[attr-defined]
