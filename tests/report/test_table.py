"""The table of models."""

from dataclasses import replace

from mnist_edge import store
from mnist_edge.report import table
from mnist_edge.report.findings import Findings


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
