"""``mnist-edge formats``."""

from collections.abc import Mapping

from mnist_edge.cli.common import Output, subcommand, table


@subcommand("formats", "formats", data=False, models=False)
def command(out: Output) -> None:
    """List the export formats, what each one needs, and the runtimes."""
    import exporters
    from mnist_edge.runtimes import runtimes

    formats, known = exporters.formats(), runtimes()

    def runs_on(name: str) -> list[str]:
        own = next(f.runtime for f in formats if f.name == name)
        return [own, *(r.name for r in known.values() if name in r.formats and r.name != own)]

    format_rows = [[f.name, f.suffix, ", ".join(runs_on(f.name)), ", ".join(f.precisions), _state(f.missing()), f.summary] for f in formats]
    runtime_rows = [
        [
            r.name,
            ", ".join(r.formats) or "the weights",
            ", ".join(r.precisions) if r.precisions else "all",
            _state(r.missing()),
            f"{r.summary}{f'; {r.limits}' if r.limits else ''}",
        ]
        for r in known.values()
    ]
    text = table(format_rows, ["format", "suffix", "runtimes", "precisions", "ready", "what it is"])
    text += "\n\n" + table(runtime_rows, ["runtime", "runs", "precisions", "ready", "what it is"])
    lines = [(f"format {f.name}", install) for f in formats for install in dict.fromkeys(f.missing().values())]
    lines += [(f"runtime {r.name}", install) for r in known.values() for install in dict.fromkeys(r.missing().values())]
    if lines:
        text += "\n\n" + table(lines, ["missing for", "run"])
    document = {
        "formats": [
            {
                "name": f.name,
                "suffix": f.suffix,
                "runtime": f.runtime,
                "runtimes": runs_on(f.name),
                "precisions": f.precisions,
                "options": {precision: [option.name for option in f.options_of(precision)] for precision in f.precisions},
                "missing": [*f.missing()],
                "install": [*dict.fromkeys(f.missing().values())] or [f.install],
            }
            for f in formats
        ],
        "runtimes": [
            {
                "name": r.name,
                "formats": r.formats,
                "precisions": r.precisions,
                "limits": r.limits,
                "options": [option.name for option in r.options],
                "missing": [*r.missing()],
                "install": [*dict.fromkeys(r.missing().values())] or [r.install],
            }
            for r in known.values()
        ],
    }
    out.result(document, text)


def _state(missing: Mapping[str, str]) -> str:
    return f"needs {', '.join(missing)}" if missing else "yes"
