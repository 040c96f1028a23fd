"""``mnist-edge show``."""

from pathlib import Path

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, Right, subcommand, table
from mnist_edge.text import count, data_name, duration, percent, size


@subcommand("show", "show", "show lenet --json", data=False)
@click.argument("model", required=False, shell_complete=completing.models)
def command(model: str | None, models_dir: Path | None, out: Output) -> None:
    """Show what MODEL is, how it came to be, what it scores, and what was proven of each artifact; --json gives the manifest."""
    from mnist_edge import store

    found = store.find(model, models_dir)
    manifest = found.manifest
    training, scores, recipe = manifest.training, manifest.scores, manifest.training["recipe"]
    facts = [
        ("model", f"{found.name} ({found.chosen})"),
        (
            "network",
            f"{manifest.architecture}{f' {manifest.arguments}' if manifest.arguments else ''}, {count(manifest.parameters, 'parameter')}",
        ),
        (
            "normalisation",
            f"mean {manifest.normalisation['mean']}, standard deviation {manifest.normalisation['std']}, inside every artifact",
        ),
        (
            "trained on",
            f"{count(training['data']['images'], 'image')} of {data_name(training['data']['name'])} ({training['data']['held_out']:,} of them held out)"
            + (
                f", and {percent(recipe['drawn'], 0)} {'more' if training['data']['name'] == 'drawn' else 'as many drawn digits'}"
                if recipe.get("drawn")
                else ""
            ),
        ),
        (
            "recipe",
            f"{recipe['name']}: {count(training['epochs'], 'epoch')}, {recipe['optimizer']}, lr {recipe['lr']:g}, batch {recipe['batch_size']}, seed {training['seed']}",
        ),
        (
            "trained",
            f"{training['finished']}, {duration(training['seconds'])} on {training['device']}, torch {training['versions']['torch']}",
        ),
        ("held out", percent(scores["validation_accuracy"])),
        (
            "test",
            f"{percent(scores['test_accuracy'])} of {count(scores['test_data']['images'], 'image')} of {data_name(scores['test_data']['name'])}",
        ),
        ("licence", manifest.licence),
    ]
    if confidence := scores.get("confidence"):
        reliable = (
            f"from a confidence of {percent(confidence['threshold'])} on: {percent(confidence['reliable'], 1)} of the held-out answers are right, "
            f"and {percent(confidence['answered'])} reach it"
        )
        facts.insert(-1, ("reliable", reliable))
    width = max(len(key) for key, _ in facts)
    rows = [
        [
            a.label,
            size(a.bytes),
            a.runtime,
            a.oldest_runtime,
            f"{a.parity['equal_answers']:,} of {a.parity['images']:,} ({data_name(a.parity['data']['name'])})",
            f"{a.parity['max_difference']:.2g}",
            a.sha256[:12],
        ]
        for a in found.artifacts
    ]
    header = ["artifact", Right("size"), "runtime", "needs", "same answer", "logit difference", "SHA-256"]
    text = (
        "\n".join(f"{key.ljust(width)}  {value}" for key, value in facts) + "\n\n" + (table(rows, header) if rows else "no artifacts yet")
    )
    out.result(manifest.to_json(), text)
    if not rows:
        out.say(found.export_again(what="next"))
