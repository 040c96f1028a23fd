"""``mnist-edge clean``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_edge.cli.common import Number, Output, Right, is_terminal, option, subcommand, table
from mnist_edge.common.errors import UsageError
from mnist_edge.common.text import age, count, size

if TYPE_CHECKING:
    from mnist_edge.store.housekeeping import Leftover

_DAY = 24 * 3600


@subcommand("clean", "clean", "clean --replaced --failed --older-than 30", "clean --all --yes", data=False)
@option("--replaced", is_flag=True, envvar=None, show_default=False, help="Remove models that a training run replaced.")
@option("--failed", is_flag=True, envvar=None, show_default=False, help="Remove the evidence of refused exports.")
@option(
    "--runs",
    is_flag=True,
    envvar=None,
    show_default=False,
    help="Remove unfinished training runs; --resume cannot continue them afterwards.",
)
@option(
    "--parts",
    is_flag=True,
    envvar=None,
    show_default=False,
    help="Remove half-written files that killed programs left more than a day ago.",
)
@option("--all", "every", is_flag=True, envvar=None, show_default=False, help="Remove all of these.")
@option("--older-than", type=Number(0), default=0, metavar="DAYS", help="Only what is older than this many days.")
@option("-y", "--yes", is_flag=True, envvar=None, show_default=False, help="Remove without asking.")
def command(every: bool, older_than: float, yes: bool, models_dir: Path | None, out: Output, **chosen: bool) -> None:
    """List what training runs and exports left in the models folder, and remove what the options name.

    This never removes a model, an artifact, or a run that is still training. mnist-edge restore puts a replaced model back.
    """
    from mnist_edge import store
    from mnist_edge.store import housekeeping

    folder = store.models_dir(models_dir)
    everything = housekeeping.leftovers(folder)
    found = [one for one in everything if one.seconds >= older_than * _DAY]
    younger = [one for one in everything if one not in found]
    doomed = [one for one in found if (every or chosen[one.kind]) and not one.in_use]
    rows = [[one.kind, str(one.path.relative_to(folder)), size(one.bytes), age(one.seconds), _what(one)] for one in found]
    text = (
        table(rows, ["kind", "what", Right("size"), "age", "what it is"])
        if rows
        else f"nothing {'that old ' if younger else ''}is left over in {folder}"
    )
    if younger:
        text += f"\n{count(len(younger), 'folder or file is', 'folders and files are')} younger, {size(housekeeping.total_bytes(younger))}"
    document = {"models_dir": str(folder), "leftovers": [one.to_json() for one in found]}
    if not (every or any(chosen.values())):
        total = f"\n\n{size(housekeeping.total_bytes(found))} in all; nothing was removed" if found else ""
        out.result(document | {"removed": [], "freed_bytes": 0}, text + total)
        if found:
            out.say("to remove some of it: --replaced, --failed, --runs, --parts or --all, with --older-than DAYS")
        return
    if doomed and not yes:
        freed = size(housekeeping.total_bytes(doomed))
        if out.as_json or not is_terminal(sys.stdin):
            raise UsageError(f"this would remove {count(len(doomed), 'folder or file', 'folders and files')}, {freed}, for good; add --yes")
        click.echo(text, err=True)
        if not click.confirm(f"Remove {count(len(doomed), 'of them', 'of them')}, {freed}, for good?", err=True):
            out.result(document | {"removed": [], "freed_bytes": 0}, "nothing was removed")
            return
    removed = [one for one in doomed if housekeeping.remove(folder, one)]
    for one in found:
        if one.in_use and (every or chosen[one.kind]):
            out.problem(f"kept: {one.path}: {one.in_use}")
    freed_bytes = housekeeping.total_bytes(removed)
    out.result(
        document | {"removed": [str(one.path) for one in removed], "freed_bytes": freed_bytes},
        "\n".join([*(f"removed {one.path}" for one in removed), f"{len(removed)} removed, {size(freed_bytes)}"]),
    )


def _what(one: "Leftover") -> str:
    return f"{one.what} ({one.in_use})" if one.in_use else one.what
