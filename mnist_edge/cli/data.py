"""``mnist-edge data``."""

from pathlib import Path

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import PATH, Output, Right, option, subcommand, table
from mnist_edge.cli.group import epilog
from mnist_edge.common.errors import unknown_name
from mnist_edge.common.text import count


@subcommand("status", "data status", models=False)
def status(data_dir: Path | None, out: Output) -> None:
    """List the data sets on this machine, with their hashes."""
    from mnist_edge import dataset as datasets
    from mnist_edge.dataset.sources import WAYS_ON, find_mnist

    found = find_mnist(data_dir)
    if found.raw_dir is None:
        out.result({"mnist": None, "looked_in": found.looked_in}, found.missing())
        out.say(WAYS_ON)
        return
    splits = [datasets.load("mnist", split, data_dir) for split in ("train", "test")]
    rows = [[d.name, d.split, f"{len(d):,}", d.sha256[:16], str(found.raw_dir)] for d in splits]
    out.result(
        {"mnist": [datasets.describe(d) for d in splits], "folder": str(found.raw_dir)},
        table(rows, ["data", "split", Right("images"), "SHA-256", "where"]),
    )


@subcommand("download", "data download", "data download --data-dir mnist", models=False)
@option("--mirror", metavar="URL", help="Address of MNIST's four .gz files, tried before torchvision's own addresses.")
def download(mirror: str | None, data_dir: Path | None, out: Output) -> None:
    """Download MNIST with torchvision, unless it is on this machine already."""
    from mnist_edge.dataset.download import ensure_mnist
    from mnist_edge.dataset.sources import find_mnist

    found = find_mnist(data_dir)
    if not found.complete:
        out.say(f"{found.missing()}; downloading it (12 MB)")
    folder = ensure_mnist(data_dir, mirror)
    out.result({"folder": str(folder)}, f"MNIST is in {folder}")


@subcommand("images", "data images pictures", "data images pictures --data drawn", models=False)
@click.argument("folder", type=PATH)
@option("--data", default="mnist", metavar="DATA", shell_complete=completing.data, help="The data set to write: mnist or drawn.")
def images(folder: Path, data: str, data_dir: Path | None, out: Output) -> None:
    """Write a data set out as FOLDER/train/0…9/*.png and FOLDER/test/0…9/*.png, for --data FOLDER."""
    from mnist_edge import dataset as datasets
    from mnist_edge.dataset.folder import write_folder

    counts = {}
    for split in ("train", "test"):
        found = datasets.load(data, split, data_dir)
        write_folder(found, folder, out.progress(len(found), split))
        counts[split] = len(found)
    out.result(
        {"folder": str(folder), **counts}, f"wrote {counts['train']:,} training and {count(counts['test'], 'test picture')} to {folder}"
    )
    out.next_step("train", "mlp-256", data=folder)


class _DefaultsToStatus(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        completing = ctx.resilient_parsing
        asks_for_help = not set(args).isdisjoint(ctx.help_option_names)
        names_a_command = bool(args) and not args[0].startswith("-")
        if not (completing or asks_for_help or names_a_command):
            args = ["status", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for an unknown name."""
        if args and args[0] not in self.commands:
            raise unknown_name("command of data", args[0], self.commands)
        return super().resolve_command(ctx, args)


command = _DefaultsToStatus(
    "data",
    help="Find, download or write out data sets. Without a command: list those on this machine.",
    commands=[status, download, images],
    epilog=epilog("data", "data download", "data images pictures"),
)
