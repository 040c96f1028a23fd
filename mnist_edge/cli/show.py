"""``mnist-edge show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, Right, subcommand, table
from mnist_edge.common.text import count, data_name, duration, measured, percent, size
from mnist_edge.runtimes.platforms import Platform

if TYPE_CHECKING:
    from mnist_edge.store import Model


@subcommand("show", "show", "show lenet --json", data=False)
@click.argument("model", required=False, shell_complete=completing.models)
def command(model: str | None, models_dir: Path | None, out: Output) -> None:
    """Show what MODEL is, how it was trained, how it scores, and what was proven about each artifact. --json prints the manifest."""
    from mnist_edge import store

    found = store.find(model, models_dir)
    manifest = found.manifest
    training, scores, recipe = manifest.training, manifest.scores, manifest.training["recipe"]
    by_writers = ", those of 45 writers" if training["data"].get("held_out_by") == "writers" else ""
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
            f"{count(training['data']['images'], 'image')} of {data_name(training['data']['name'])} ({training['data']['held_out']:,} of them held out{by_writers})"
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
            f"at a confidence of {percent(confidence['threshold'])} or more: {percent(confidence['reliable'], 1)} of the held-out answers are right, "
            f"and {percent(confidence['answered'])} reach it"
        )
        facts.insert(-1, ("reliable", reliable))
    width = max(len(key) for key, _ in facts)
    text = "\n".join(f"{key.ljust(width)}  {value}" for key, value in facts)
    text += f"\n\n{_artifacts(found)}\n\n{_proofs(found)}" if found.artifacts else "\n\nno artifacts yet"
    out.result(manifest.to_json(), text)
    if not found.artifacts:
        out.say(found.export_again(what="next"))


def _artifacts(model: Model) -> str:
    rows = [
        [one.label, size(one.bytes), len(one.members) or 1, one.runtime, one.oldest_runtime, one.sha256[:12]] for one in model.artifacts
    ]
    return table(rows, ["artifact", Right("size"), Right("files"), "runtime", "needs", "SHA-256"])


def _proofs(model: Model) -> str:
    """Return a row for each proof: the artifact, the runtime, the kind of machine, and the data."""
    from mnist_edge.store.kept import with_kept

    rows = []
    for one in map(with_kept, model.artifacts):
        for proof in one.proofs:
            platform = Platform.from_json(proof.platform).describe() if proof.platform else "not recorded"
            data = data_name(proof.parity["data"]["name"])
            equal = f"{proof.parity['equal_answers']:,} of {proof.parity['images']:,} ({data})"
            runtime = proof.version or f"{proof.runtime} (release not recorded)"
            name = f"{one.file} (unproven)" if proof.unproven else one.file  # of several some may be no proof
            rows.append([name, runtime, platform, equal, f"{proof.parity['max_difference']:.2g}"])
    took = [[one.file, proof.runtime, text] for one in model.artifacts for proof in one.proofs if (text := measured(proof.measured))]
    text = table(rows, ["proof of", "with", "on", "same answer", "logit difference"])
    return f"{text}\n\n{table(took, ['artifact', 'runtime', 'takes there'])}" if took else text
