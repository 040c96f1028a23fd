"""``mnist-edge export``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_edge import store
from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, Points, option, subcommand, was_typed
from mnist_edge.cli.group import EXIT_PARITY
from mnist_edge.cli.networks import builds_networks
from mnist_edge.cli.parity_text import describe_report
from mnist_edge.errors import UsageError, among
from mnist_edge.manifest import quantize_of
from mnist_edge.text import count, data_name, size

if TYPE_CHECKING:
    from exporters import Calibration, Format, LayerCost

#: Ranges read off fewer images do not hold: of new images one in N+1 is outside what N have shown, in every tensor. LeNet's largest
#: logit error on held-out images, mean of six seeds: 7.6 with 1, 3.8 with 10, 1.7 with 50, 1.6 with 100, 0.9 with 500.
SOUND_CALIBRATION = 100


@subcommand("export", "export lenet --format onnx", "export lenet --format onnx --quantize static", "export lenet --format torchscript")
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
@option("--opset", type=int, help="ONNX operator set, 18 and up.  [default: 20]")
@option(
    "--data",
    type=str,
    shell_complete=completing.data,
    help="Test set to prove it on: mnist, drawn or a folder.  [default: mnist if it is here, else drawn]",
)
@option(
    "--max-accuracy-drop", type=Points(), metavar="POINTS", help="Percentage points it may lose.  [default: 0.02 for fp16, 0.1 for int8]"
)
@option("--keep-float", multiple=True, metavar="LAYER", help="Leave a layer in float32, such as conv1; may be given again.")
@option("--calibration-images", type=click.IntRange(min=1), default=500, help="Training images that static int8 reads its ranges off.")
@option("--calibration-method", metavar="METHOD", help="minmax, or percentile (clips the largest 0.01 %).  [default: minmax]")
@option("--calibration-seed", type=click.IntRange(0, 2**31), default=0, help="Which training images.")
@option(
    "--force",
    is_flag=True,
    show_default=False,
    help="Publish it though it is hardly smaller, or replaces a stronger proof; and, as unproven, though the exporter warns or the images are too few.",
)
@builds_networks
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    format_name: str | None,
    quantize: str,
    opset: int | None,
    data: str | None,
    max_accuracy_drop: float | None,
    keep_float: tuple[str, ...],
    calibration_images: int,
    calibration_method: str | None,
    calibration_seed: int,
    force: bool,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
) -> None:
    """Export MODEL, run the file on the whole test set, compare with PyTorch, and publish it only if it answers the same.

    MODEL is a name in the models folder, a folder, or a file of one; left out, the model trained last, else the reference.
    With --quantize it may answer a few images otherwise, within a budget, and has to be smaller for it.
    """
    import exporters
    from exporters import gate
    from mnist_edge import dataset as datasets
    from mnist_edge.extras import require
    from mnist_edge.proof import record

    if format_name is None:
        others = ", ".join(one.name for one in exporters.formats() if one.name != "onnx")
        raise UsageError(f"export needs a format; add --format onnx, or one of {others}; mnist-edge formats says what each is for")
    chosen = exporters.find(format_name)
    precision = _precision(chosen, quantize)
    fits = _refuse_misplaced(ctx, chosen, precision)
    given = {"opset": opset, "keep_float": list(keep_float) or None, "calibration_method": calibration_method}
    options = {name: value for name, value in given.items() if value is not None and name in fits}
    require(f"format {chosen.name}", *chosen.requires, install=chosen.install)
    found = store.find(model, models_dir)
    out.model(found)
    proof_data = datasets.load_for_proof(data, data_dir)
    if data is None and proof_data.name == "drawn":
        out.say("MNIST is not on this machine: proving on 10,000 drawn digits; mnist-edge verify completes it once MNIST is here")
    calibration = None
    if precision != "float32" and chosen.reductions[precision].calibrated:
        calibration = _calibration(data or proof_data.name, data_dir, calibration_images, calibration_seed, out)
    after, proof = gate.export(
        found,
        format_name,
        proof_data,
        models_dir=models_dir,
        precision=precision,
        options=options,
        calibration=calibration,
        max_accuracy_drop=None if max_accuracy_drop is None or "max_accuracy_drop" not in fits else max_accuracy_drop / 100,
        force=force,
    )
    document = {
        "model": after.name,
        "folder": str(after.folder),
        "format": format_name,
        "precision": precision,
        "parity": record(proof.report, proof_data),
        "verdict": proof.verdict.to_json() if proof.verdict else None,
        "layer_costs": [vars(cost) for cost in proof.costs],
    }
    report = describe_report(proof.report, proof_data)
    if proof.artifact is None:
        what = f"{after.name} as {format_name}" + ("" if precision == "float32" else f" in {precision}")
        text = f"NOT published: {what} does not answer as PyTorch does\n{report}{_describe_costs(proof.costs)}\nevidence: {proof.evidence or 'could not be saved'}"
        out.result(document | {"published": False, "evidence": str(proof.evidence) if proof.evidence else None}, text)
        ctx.exit(EXIT_PARITY)
    if proof.artifact.unproven:
        out.problem(f"warning: unproven, because {proof.artifact.unproven}")
    path = after.folder / proof.artifact.file
    kept = proof.artifact.parity
    if kept["data"]["sha256"] != proof_data.sha256:
        out.problem(
            f"the stronger proof that this file had, on {count(kept['images'], 'test image')} of {data_name(kept['data']['name'])}, is kept"
        )
    verdict = f"\n  verdict          {proof.verdict.advise(proof.report)}" if proof.verdict else ""
    out.result(
        document
        | {
            "published": True,
            "unproven": proof.artifact.unproven or None,
            "file": str(path),
            "sha256": proof.artifact.sha256,
            "bytes": proof.artifact.bytes,
        },
        f"published {path}{' (unproven)' if proof.artifact.unproven else ''}, {size(proof.artifact.bytes)}, needs {proof.artifact.oldest_runtime}\n{report}{verdict}",
    )
    if found.is_installed_reference:
        out.say(f"the reference model was copied to {after.folder}, and the file lies there")
    runtime = None if chosen.runtime == "ort" else chosen.runtime
    if precision != "float32":
        out.next_step("predict", "img.png", model=path, runtime=runtime)
    else:
        out.next_step("predict", "img.png", model=model, runtime=runtime, models_dir=models_dir)


def _precision(chosen: "Format", quantize: str) -> str:
    known = {quantize_of(precision): precision for precision in chosen.precisions}
    if quantize not in known:
        raise UsageError(f"--quantize {quantize}: format {chosen.name} has no such precision{among(quantize, known)}")
    return known[quantize]


def _refuse_misplaced(ctx: click.Context, chosen: "Format", precision: str) -> set[str]:
    """Return the options that have a meaning here. Raises UsageError for another that was typed; from the environment it is passed over."""
    reduction = chosen.reductions.get(precision)
    fits = {*chosen.options, *(reduction.options if reduction else ())}
    fits |= {"force"} | ({"max_accuracy_drop"} if reduction else set())
    fits |= {"calibration_images", "calibration_seed"} if reduction and reduction.calibrated else set()
    for name in ("opset", "keep_float", "calibration_method", "calibration_images", "calibration_seed", "max_accuracy_drop", "force"):
        if name not in fits and was_typed(ctx, name):
            what = f"--format {chosen.name}" + (f" --quantize {quantize_of(precision)}" if chosen.reductions else "")
            raise UsageError(f"--{name.replace('_', '-')} does nothing with {what}; leave it out")
    return fits


def _calibration(data: str, data_dir: Path | None, count: int, seed: int, out: Output) -> "Calibration":
    """Take training images of the same data that the proof is on, and say where they are few."""
    from exporters import Calibration
    from mnist_edge import dataset as datasets

    calibration = Calibration.draw(datasets.load(data, "train", data_dir), count, seed)
    if count < SOUND_CALIBRATION:
        few = "1 calibration image is" if count == 1 else f"{count} calibration images are"
        out.problem(
            f"warning: {few} too few: about one new image in {_in_words(count + 1)} will leave {'its' if count == 1 else 'their'} range "
            f"and be clipped; take {SOUND_CALIBRATION} or more"
        )
    return calibration


def _in_words(number: int) -> str:
    small = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return small[number - 2] if number <= 10 else str(number)


def _describe_costs(costs: "tuple[LayerCost, ...]") -> str:
    costly = [cost for cost in costs if cost.added > 0][:3]
    if not costly:
        return ""
    lines = [f"  costs most       {cost.layer}: adds {100 * cost.added:.1f} % of error to its tensor" for cost in costly]
    module = costly[0].layer.split("/")[0]
    return "\n" + "\n".join([*lines, f"  try              --keep-float {module}"])
