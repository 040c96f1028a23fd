"""A model in sentences, for its page and its card."""

from typing import Any

from mnist_edge.report.findings import Findings
from mnist_edge.report.origin import Origin


def percent(share: float, digits: int = 2) -> str:
    """Return 0.9912 as ``99.12 %``."""
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    """Return a training's length in the unit that a person would take."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Return a file's size in kB or MB (powers of ten)."""
    return f"{count / 1e3:,.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def headline(findings: Findings, origin: Origin) -> str:
    """Return what the model is and what it scores, in a sentence or two."""
    manifest, found = findings.model.manifest, findings.evaluation
    what = f"{origin.summary[:1].upper()}{origin.summary[1:]}" if origin.summary else f"Network {manifest.architecture}"
    scores = f"reads {percent(found.accuracy)} of {findings.data_name}'s {len(findings.data):,} test images rightly"
    if origin.tutorial_accuracy is not None:
        scores += f"; the tutorial reports {percent(origin.tutorial_accuracy)}"
    return f"{what}: {manifest.parameters:,} parameters. It {scores}."


def training(findings: Findings) -> list[str]:
    """Return how it was trained."""
    manifest = findings.model.manifest
    run, recipe = manifest.training, manifest.training["recipe"]
    data = run["data"]
    drawn = f", and {percent(recipe['drawn'], 0)} as many drawn by the program" if recipe.get("drawn") else ""
    schedule = {"onecycle": f"rising to {recipe['lr']:g} and falling (one cycle)", "constant": f"{recipe['lr']:g}"}[recipe["schedule"]]
    lines = [
        f"{data['images'] - data['held_out']:,} images of {data['name']}{drawn}; every twelfth image, {data['held_out']:,} in all, was held out",
        f"recipe {recipe['name']}: {run['epochs']} epochs, {recipe['optimizer']}, batches of {recipe['batch_size']}, learning rate {schedule}, "
        f"weight decay {recipe['weight_decay']:g}{_bfloat16(recipe)}",
        _augmentation(recipe["augmentation"]),
        f"seed {run['seed']}, {run['device']}, {run['threads']} thread{'s' if run['threads'] != 1 else ''}, torch {run['versions']['torch']}: "
        f"{duration(run['seconds'])}",
        f"{percent(manifest.scores['validation_accuracy'])} on the held-out images, which chose the recipe; the test images were read once, at the end",
    ]
    return [line for line in lines if line]


def strengths(findings: Findings) -> list[str]:
    """Return what the model is good and bad at, all of it measured."""
    classes = [one for one in findings.evaluation.by_class() if one["accuracy"] is not None]
    lines = []
    if classes:
        best, worst = max(classes, key=lambda c: c["accuracy"]), min(classes, key=lambda c: c["accuracy"])
        lines.append(
            f"Best at {best['digit']} ({percent(best['accuracy'])} read rightly), worst at {worst['digit']} ({percent(worst['accuracy'])})"
        )
    if often := findings.confusions()[:3]:
        lines.append("Most often confused: " + ", ".join(f"{one.label} read as {one.digit} ({one.count}×)" for one in often))
    if confidence := findings.model.manifest.scores.get("confidence"):
        lines.append(
            f"From a confidence of {percent(confidence['threshold'])} on, {percent(confidence['reliable'], 1)} of its held-out answers are right, "
            f"and {percent(confidence['answered'])} of the images reach that; below it, `predict` warns"
        )
    lines.append(
        f"Expected calibration error {100 * findings.calibration_error():.2f} points: "
        f"how far its confidence is, in the mean, from its share of right answers"
    )
    if (pictures := findings.pictures) is not None:
        lines.append(
            f"Of {pictures.images:,} pictures by other hands (photos, scans, tablets) it reads {pictures.correct:,} rightly, {percent(pictures.accuracy)}"
        )
    lines.append("It knows digits only: a letter or a drawing made of strokes is read as one")
    return lines


def _bfloat16(recipe: dict[str, Any]) -> str:
    return ", multiplied in bfloat16" if recipe.get("precision") == "bfloat16" else ""


def _augmentation(bounds: dict[str, float] | None) -> str:
    if bounds is None:
        return "images as they are, without augmentation"
    return (
        f"each image turned by up to {bounds['rotation']:g}°, scaled by {percent(bounds['scale'], 0)}, sheared by {bounds['shear']:g}, "
        f"shifted by {percent(bounds['shift'], 0)} of its side, anew in every epoch"
    )
