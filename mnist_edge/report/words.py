"""A model in sentences, for its page and its card: plain text, each without its full stop."""

from collections.abc import Mapping
from typing import Any

from mnist_edge.common.text import count, data_name, duration, percent
from mnist_edge.dataset import WRITERS
from mnist_edge.report.findings import Findings
from mnist_edge.report.origin import Origin


def headline(findings: Findings, origin: Origin) -> str:
    """Return what the model is and what it scores, in two sentences."""
    manifest, found = findings.model.manifest, findings.evaluation
    what = f"{origin.summary[:1].upper()}{origin.summary[1:]}" if origin.summary else f"Network {manifest.architecture}"
    text = (
        f"{what}: {count(manifest.parameters, 'parameter')}. It reads {percent(found.accuracy)} of "
        f"{count(len(findings.data), 'test image')} of {findings.data_name} correctly"
    )
    if origin.tutorial_accuracy is not None:
        text += f"; the tutorial reports {percent(origin.tutorial_accuracy)} on MNIST"
    return text


def training(findings: Findings) -> list[str]:
    """Return how it was trained."""
    manifest = findings.model.manifest
    run, recipe = manifest.training, manifest.training["recipe"]
    data = run["data"]
    kept = data["images"] - data["held_out"]
    drawn = (
        f", and {round(recipe['drawn'] * kept):,} digits that the program drew{' in many hands' if recipe.get('hands') == 'many' else ''}"
        if recipe.get("drawn")
        else ""
    )
    averaged = f"; the result is a running average of the weights, decay {recipe['average']:g}" if recipe.get("average") else ""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items() if name != "platform")
    rate = f"rising to {recipe['lr']:g} and falling (one cycle)" if recipe["schedule"] == "onecycle" else f"{recipe['lr']:g}"
    return [
        f"{count(kept, 'image')} of {data_name(data['name'])}{drawn}; {_held_out(data)}",
        f"Recipe {recipe['name']}: {count(run['epochs'], 'epoch')}, {recipe['optimizer']}, batches of {recipe['batch_size']}, learning rate {rate}, "
        f"weight decay {recipe['weight_decay']:g}{'; multiplied in bfloat16, the weights in float32' if recipe.get('precision') == 'bfloat16' else ''}"
        f"{averaged}",
        _augmentation(recipe["augmentation"]),
        f"Seed {run['seed']}, {run['device']}, {_processes(run)}{count(run['threads'], 'thread')}: {duration(run['seconds'])}; {versions}",
        f"{percent(manifest.scores['validation_accuracy'])} on the held-out images; the test images were read once, at the end",
    ]


def _held_out(data: Mapping[str, Any]) -> str:
    if data.get("held_out_by") == WRITERS:
        return f"all {data['held_out']:,} images of 45 of the 539 writers were held out"
    return f"every twelfth image was held out, {data['held_out']:,} in all"


def _processes(run: Mapping[str, Any]) -> str:
    return f"{run['processes']} processes of " if run.get("processes", 1) > 1 else ""


def again(findings: Findings, origin: Origin) -> str:
    """Return what the training command is good for; it goes before the command."""
    if not origin.is_exact:
        return "Trained by this command, though the network's own recipe may have changed since"
    weights = findings.model.manifest.weights.sha256[:12]
    return f"The same command makes it again; on the same machine, with the same versions and data, the same bits (weights {weights}…)"


def strengths(findings: Findings) -> list[str]:
    """Return what the model is good and bad at, all of it measured."""
    classes = [one for one in findings.evaluation.by_class() if one["images"]]
    lines = []
    best, worst = max(classes, key=lambda c: c["accuracy"]), min(classes, key=lambda c: c["accuracy"])
    if best["accuracy"] > worst["accuracy"]:
        lines.append(
            f"Best at {best['digit']}, {percent(best['accuracy'])} read correctly; worst at {worst['digit']}, {percent(worst['accuracy'])}"
        )
    if often := findings.confusions()[:3]:
        lines.append("Most often confused: " + ", ".join(f"{one.label} read as {one.digit} ({one.count}×)" for one in often))
    if (hands := findings.hands) and hands[0].wrong:
        lines.append(
            f"Of {count(len(hands), 'writer')} of the test images it reads {sum(not one.wrong for one in hands):,} without a mistake, and of the writer that it "
            f"reads worst {len(hands[0].images) - len(hands[0].wrong):,} of {count(len(hands[0].images), 'digit')}"
        )
    if (confidence := findings.model.manifest.scores.get("confidence")) and confidence["answered"]:
        lines.append(
            f"At a confidence of {percent(confidence['threshold'])} or more, at least {percent(confidence['reliable'], 1)} of its answers to held-out images "
            f"are right, and {percent(confidence['answered'])} of them reach it; below it, predict warns"
        )
    lines.append(
        f"Expected calibration error {100 * findings.calibration_error():.2f} points: the average gap between its confidence and its share of right answers"
    )
    if (pictures := findings.pictures) is not None:
        found = pictures.evaluation
        lines.append(
            f"Of {count(found.images, 'picture')} in {pictures.name} it reads {found.correct:,} correctly, {percent(found.accuracy)}"
        )
    lines.append("It knows digits only: a letter or a drawing made of strokes is read as one")
    return lines


def _augmentation(bounds: dict[str, float] | None) -> str:
    if bounds is None:
        return "The images as they are, without augmentation"
    changes = f"turned by up to {bounds['rotation']:g}°, scaled by up to {percent(bounds['scale'], 0)}, sheared by up to {bounds['shear']:g} of its height"
    if bounds["shift"]:
        changes += f", shifted by up to {percent(bounds['shift'], 0)} of its side"
    if bounds.get("elastic"):
        changes += f", bent by {percent(bounds['elastic'], 1)} of it (standard deviation)"
    if bounds.get("pen"):
        changes += f", written with a pen broader or thinner by up to {2 * bounds['pen']:g} pixels"
    return f"Each image {changes}, anew in every epoch"
