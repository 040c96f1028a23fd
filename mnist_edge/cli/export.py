"""``mnist-edge export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge import store
from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, Points, option, subcommand, was_typed
from mnist_edge.cli.declared import declares, given, refuse_others
from mnist_edge.cli.group import EXIT_PARITY
from mnist_edge.cli.networks import builds_networks
from mnist_edge.cli.outcomes import describe_costs, describe_measured, describe_report
from mnist_edge.common.errors import UsageError, among
from mnist_edge.common.text import count, data_name, size
from mnist_edge.store.manifest import quantize_of

if TYPE_CHECKING:
    from exporters import Calibration, Format
    from exporters.gate import Outcome
    from mnist_edge.common.options import Option
    from mnist_edge.store import Model

#: Ranges from fewer images do not hold: after N images, one new image in N+1 falls outside them, in every tensor. LeNet's largest
#: logit error on held-out images, mean of six seeds: 7.6 with 1, 3.8 with 10, 1.7 with 50, 1.6 with 100, 0.9 with 500.
SOUND_CALIBRATION = 100


def _options(name: str | None) -> tuple[Sequence[Option], Sequence[Option]]:
    """Return the options of the format with this name, and those of all formats."""
    import exporters

    formats = exporters.formats()
    each = {one.name: [option for precision in one.precisions for option in one.options_of(precision)] for one in formats}
    unique = {format: list({option.name: option for option in options}.values()) for format, options in each.items()}
    return unique.get(name or "", []), [option for options in unique.values() for option in options]


@subcommand(
    "export",
    "export lenet --format onnx",
    "export lenet --format onnx --quantize static",
    "export lenet --format torchscript",
    cls=declares("--format", _options),
)
@click.argument("model", required=False, shell_complete=completing.models)
@option(
    "--format",
    "format_name",
    metavar="FORMAT",
    shell_complete=completing.formats,
    help="Format to write; `mnist-edge formats` lists them.  [required]",
)
@option(
    "--quantize",
    default="none",
    metavar="HOW",
    shell_complete=completing.precisions,
    help="none, fp16, dynamic (int8 dense layers) or static (int8, calibrated).",
)
@option(
    "--data",
    type=str,
    shell_complete=completing.data,
    help="Test set to prove it on: mnist, drawn or a folder.  [default: mnist if it is here, else drawn]",
)
@option(
    "--max-accuracy-drop",
    type=Points(),
    metavar="POINTS",
    help="Percentage points of accuracy it may lose.  [default: 0.02 for fp16, 0.1 for int8]",
)
@option("--calibration-images", type=click.IntRange(min=1), default=500, help="How many training images to calibrate static int8 on.")
@option("--calibration-seed", type=click.IntRange(0, 2**31), default=0, help="Seed that picks those training images.")
@option(
    "--force",
    is_flag=True,
    show_default=False,
    help="Publish it even if it is hardly smaller or replaces a file with a stronger proof. If the exporter warns or the images are too few, publish it as unproven.",
)
@builds_networks
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    format_name: str | None,
    quantize: str,
    data: str | None,
    max_accuracy_drop: float | None,
    calibration_images: int,
    calibration_seed: int,
    force: bool,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
    **declared: Any,
) -> None:
    """Export MODEL, run the file on the whole test set, compare it with PyTorch, and publish it only if it gives the same answers.

    MODEL is the name of a model in the models folder, a model's folder, or a file in it. Without it, export takes the model trained
    last, or else the reference model. With --quantize, a few answers may change, within a budget, but the file has to be smaller.
    mnist-edge export --format FORMAT --help shows a format's own options.
    """
    import exporters
    from exporters import gate
    from exporters import plan as plans
    from mnist_edge import dataset as datasets

    if format_name is None:
        others = ", ".join(one.name for one in exporters.formats() if one.name != "onnx")
        raise UsageError(f"export needs a format; add --format onnx, or one of {others}; mnist-edge formats says what each is for")
    chosen = exporters.find(format_name)
    precision = _precision(chosen, quantize)
    found = store.find(model, models_dir)
    wanted = [chosen]
    if chosen.source and plans.find_source(found, chosen, precision) is None:
        wanted.insert(0, exporters.find(chosen.source))
    _refuse_misplaced(ctx, wanted, precision, declared)
    for one in wanted:
        one.require()
    out.model(found)
    proof_data = datasets.load_for_proof(data, data_dir)
    if data is None and proof_data.name == "drawn":
        out.say("MNIST is not on this machine: proving on 10,000 drawn digits; mnist-edge verify completes the proof once MNIST is here")
    after = found
    for one in wanted:
        calibration = None
        if _is_calibrated(one, precision):
            calibration = _calibration(found, data or proof_data.name, data_dir, calibration_images, calibration_seed, out)
        after, outcome = gate.export(
            after,
            one.name,
            proof_data,
            models_dir=models_dir,
            precision=precision,
            options=given(ctx, one.options_of(precision), declared),
            calibration=calibration,
            max_accuracy_drop=None if max_accuracy_drop is None or precision == "float32" else max_accuracy_drop / 100,
            force=force,
        )
        if outcome.artifact is None:
            _say_refused(out, after, one, precision, outcome)
            ctx.exit(EXIT_PARITY)
        if one is not chosen:
            path = after.folder / outcome.artifact.file
            out.say(f"published {path}, {size(outcome.artifact.bytes)}, which passed; format {chosen.name} is made from it")
    assert outcome.artifact is not None
    _say_published(out, after, chosen, outcome)
    if found.is_installed_reference:
        out.say(f"the reference model was copied to {after.folder}, and the artifact is there")
    if chosen.name == "web":
        out.next_step("open", str(after.folder / outcome.artifact.file))
        return
    runtime = None if chosen.runtime == "ort" else chosen.runtime
    if precision != "float32":
        out.next_step("predict", "img.png", model=after.folder / outcome.artifact.file, runtime=runtime)
    else:
        out.next_step("predict", "img.png", model=model, runtime=runtime, models_dir=models_dir)


def _document(model: Model, chosen: Format, precision: str, outcome: Outcome) -> dict[str, Any]:
    from mnist_edge.proof.records import figures

    return {
        "model": model.name,
        "folder": str(model.folder),
        "format": chosen.name,
        "precision": precision,
        "parity": figures(outcome.report, outcome.data),
        "verdict": outcome.verdict.to_json() if outcome.verdict else None,
        "layer_costs": [vars(cost) for cost in outcome.costs],
    }


def _say_refused(out: Output, model: Model, chosen: Format, precision: str, outcome: Outcome) -> None:
    what = f"{model.name} as {chosen.name}" + ("" if precision == "float32" else f" in {precision}")
    text = f"NOT published: {what} does not answer as PyTorch does\n{describe_report(outcome.report, outcome.data)}{describe_costs(outcome.costs)}"
    document = _document(model, chosen, precision, outcome) | {"published": False}
    kept = str(outcome.evidence) if outcome.evidence else None
    out.result(document | {"evidence": kept}, f"{text}\nevidence: {kept or 'could not be saved'}")


def _say_published(out: Output, model: Model, chosen: Format, outcome: Outcome) -> None:
    artifact = outcome.artifact
    assert artifact is not None  # nothing else is published
    if artifact.unproven:
        out.problem(f"warning: unproven, because {artifact.unproven}")
    path, kept = model.folder / artifact.file, artifact.parity
    if kept["data"]["sha256"] != outcome.data.sha256:
        out.problem(
            f"the stronger proof that this file had, on {count(kept['images'], 'test image')} of {data_name(kept['data']['name'])}, is kept"
        )
    chips = "".join(f"\n  {proof.runtime:16} {describe_measured(proof.measured)}" for proof in artifact.proofs if proof.measured)
    verdict = f"\n  verdict          {outcome.verdict.advise(outcome.report)}" if outcome.verdict else ""
    about = f"{size(artifact.bytes)}, needs {artifact.oldest_runtime}"
    members = f" in {count(len(artifact.members), 'file')}" if artifact.members else ""
    out.result(
        _document(model, chosen, artifact.precision, outcome)
        | {
            "published": True,
            "unproven": artifact.unproven or None,
            "file": str(path),
            "sha256": artifact.sha256,
            "bytes": artifact.bytes,
            "members": artifact.members or None,
        },
        f"published {path}{' (unproven)' if artifact.unproven else ''}{members}, {about}\n{describe_report(outcome.report, outcome.data)}{chips}{verdict}",
    )


def _precision(chosen: Format, quantize: str) -> str:
    known = {quantize_of(precision): precision for precision in chosen.precisions}
    if quantize not in known:
        raise UsageError(f"--quantize {quantize}: format {chosen.name} has no such precision{among(quantize, known)}")
    return known[quantize]


def _refuse_misplaced(ctx: click.Context, wanted: Sequence[Format], precision: str, declared: dict[str, Any]) -> None:
    """Raise UsageError for a typed option that has no effect on the formats that will be written."""
    chosen = wanted[-1]
    what = f"--format {chosen.name}" + (f" --quantize {quantize_of(precision)}" if chosen.reductions else "")
    refuse_others(ctx, [option for one in wanted for option in one.options_of(precision)], declared, what)
    misplaced = ["max_accuracy_drop"] if precision == "float32" else []
    misplaced += [] if any(_is_calibrated(one, precision) for one in wanted) else ["calibration_images", "calibration_seed"]
    for name in misplaced:
        if was_typed(ctx, name):
            raise UsageError(f"--{name.replace('_', '-')} has no effect with {what}; leave it out")


def _is_calibrated(format: Format, precision: str) -> bool:
    return precision in format.reductions and format.reductions[precision].calibrated


def _calibration(model: store.Model, data: str, data_dir: Path | None, images: int, seed: int, out: Output) -> Calibration:
    """Take training images from the same data that the proof uses, and warn if they are few."""
    from exporters import Calibration
    from mnist_edge import dataset as datasets
    from mnist_edge.store.retrain import rule_of

    training = datasets.load(data, "train", data_dir)
    calibration = Calibration.draw(training, images, seed, rule_of(model.manifest, training))
    if images < SOUND_CALIBRATION:
        few = "1 calibration image is" if images == 1 else f"{images} calibration images are"
        out.problem(
            f"warning: {few} too few: about one new image in {_in_words(images + 1)} will leave {'its' if images == 1 else 'their'} range "
            f"and be clipped; take {SOUND_CALIBRATION} or more"
        )
    return calibration


def _in_words(number: int) -> str:
    small = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return small[number - 2] if number <= 10 else str(number)
