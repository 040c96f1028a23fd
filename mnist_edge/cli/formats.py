"""``mnist-edge formats``."""

from mnist_edge.cli.common import Output, subcommand, table


@subcommand("formats", "formats", data=False, models=False)
def command(out: Output) -> None:
    """List the export formats with what each needs, and the runtimes."""
    import exporters
    from mnist_edge.extras import is_installed
    from mnist_edge.runtimes import RUNTIMES

    def missing(requires: tuple[str, ...]) -> list[str]:
        return [module for module in requires if not is_installed(module)]

    formats = exporters.formats()
    format_rows = [[f.name, f.suffix, f.runtime, ", ".join(f.precisions), _state([*f.lacks()]), f.summary] for f in formats]
    runtime_rows = [[r.name, _state(missing(r.requires)), r.summary] for r in RUNTIMES.values()]
    text = table(format_rows, ["format", "suffix", "runtime", "precisions", "ready", "what it is"])
    text += "\n\n" + table(runtime_rows, ["runtime", "ready", "what it is"])
    lines = [(f"format {f.name}", install) for f in formats for install in dict.fromkeys(f.lacks().values())]
    lines += [(f"runtime {r.name}", r.install) for r in RUNTIMES.values() if missing(r.requires)]
    if lines:
        text += "\n\n" + table([[what, install] for what, install in lines], ["missing for", "run"])
    document = {
        "formats": [
            {
                "name": f.name,
                "suffix": f.suffix,
                "runtime": f.runtime,
                "precisions": f.precisions,
                "options": f.options,
                "missing": [*f.lacks()],
                "install": [*dict.fromkeys(f.lacks().values())],
            }
            for f in formats
        ],
        "runtimes": [
            {"name": r.name, "missing": missing(r.requires), "install": [r.install] if missing(r.requires) else []}
            for r in RUNTIMES.values()
        ],
    }
    out.result(document, text)


def _state(missing: list[str]) -> str:
    return "yes" if not missing else f"needs {', '.join(missing)}"
