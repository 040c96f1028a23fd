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
    format_rows = [[f.name, f.suffix, f.runtime, ", ".join(f.precisions), _state(missing(f.requires)), f.summary] for f in formats]
    runtime_rows = [[r.name, _state(list(r.missing())), r.summary] for r in RUNTIMES.values()]
    text = table(format_rows, ["format", "suffix", "runtime", "precisions", "ready", "what it is"])
    text += "\n\n" + table(runtime_rows, ["runtime", "ready", "what it is"])
    document = {
        "formats": [
            {
                "name": f.name,
                "suffix": f.suffix,
                "runtime": f.runtime,
                "precisions": f.precisions,
                "options": f.options,
                "missing": missing(f.requires),
            }
            for f in formats
        ],
        "runtimes": [{"name": r.name, "missing": list(r.missing())} for r in RUNTIMES.values()],
    }
    out.result(document, text)


def _state(missing: list[str]) -> str:
    return "yes" if not missing else f"needs {', '.join(missing)}"
