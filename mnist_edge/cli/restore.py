"""``mnist-edge restore``."""

from pathlib import Path

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, Right, subcommand, table
from mnist_edge.common.text import age, size


@subcommand("restore", "restore", "restore lenet", "restore lenet-20260131-120000", data=False)
@click.argument("name", required=False, shell_complete=completing.restorable_models)
def command(name: str | None, models_dir: Path | None, out: Output) -> None:
    """Put back a model that a training run replaced, or an unfinished run that was set aside by a new one. Without NAME, list them.

    NAME is a model's name, which puts back the one replaced last, or the name or path of one of the listed folders. The model that is
    there now is kept, so a second restore brings it back.
    """
    from mnist_edge import store
    from mnist_edge.store import housekeeping

    folder = store.models_dir(models_dir)
    if name is None:
        found = housekeeping.restorable(folder)
        rows = [[one.path.name, one.name, size(one.bytes), age(one.seconds), one.what] for one in found]
        text = table(rows, ["what", "model", Right("size"), "age", "what it is"]) if rows else f"nothing to restore in {folder}"
        out.result({"models_dir": str(folder), "restorable": [one.to_json() for one in found]}, text)
        if found:
            out.next_step("restore", found[0].name, models_dir=models_dir)
        return
    done = housekeeping.restore(folder, name)
    kept = f"; what was there is kept in {done.kept}" if done.kept is not None else ""
    out.result(
        {"restored": done.what.to_json(), "place": str(done.place), "kept": str(done.kept) if done.kept else None},
        f"{done.place} is restored{kept}",
    )
    if done.what.kind == "runs":
        out.say(f"next: {housekeeping.resume_command(done.place, done.what.name, models_dir)}")
    else:
        out.next_step("show", done.what.name, models_dir=models_dir)
