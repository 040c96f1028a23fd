"""``mnist-edge open``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, option, subcommand

if TYPE_CHECKING:
    from mnist_edge.store import Model
    from mnist_edge.store.manifest import Artifact

_FORMAT = "web"


@subcommand("open", "open", "open models/lenet/lenet.web", "open lenet --no-browser --port 8000", data=False)
@click.argument("model", required=False, shell_complete=completing.models)
@option("--port", type=click.IntRange(0, 65535), default=0, help="Port on this machine; 0 takes a free one.")
@option("--browser/--no-browser", default=True, help="Open the browser, or only print the address.")
def command(model: str | None, port: int, browser: bool, models_dir: Path | None, out: Output) -> None:
    """Serve the page of MODEL, for this machine only, and open it in the browser. Ctrl-C ends it.

    If the model has several pages, the smallest one is opened. MODEL can also be a page's folder.
    """
    from mnist_edge import store
    from mnist_edge.serving.files import serve

    found = store.resolve(model, models_dir)
    chosen = found.model or store.find(model, models_dir)  # which says that the file belongs to no model
    page = _choose(chosen, found.file)
    folder = chosen.path(page)  # refused unless it is what was proven
    files = {name: (folder / name).read_bytes() for name in page.members}
    out.model(chosen)

    def ready(url: str) -> None:
        out.result({"model": chosen.name, "artifact": page.file, "url": url}, url)
        out.say(f"serving {page.label}; Ctrl-C ends it")
        if browser:
            _show(url, out)

    serve(files, port, ready)


def _choose(model: Model, file: Path | None) -> Artifact:
    """Return the page that was named, else the model's smallest. Raises ModelError with the line that makes one."""
    from mnist_edge.common.errors import ModelError

    if file:
        named = model.artifact_of_file(file)
        if named.format != _FORMAT:
            raise ModelError(
                f"{file}: in format {named.format}, and only a page can be opened; {model.export_again(_FORMAT, what='make one')}"
            )
        return named
    pages = [one for one in model.artifacts if one.format == _FORMAT]
    if not pages:
        raise ModelError(f"{model.folder}: no page to open; {model.export_again(_FORMAT, what='make one')}")
    return min(pages, key=lambda one: (one.bytes, one.file))


def _show(url: str, out: Output) -> None:
    import webbrowser

    try:
        shown = webbrowser.open(url)
    except webbrowser.Error:
        shown = False
    if not shown:
        out.problem("warning: no browser could be opened here; open the address yourself")
