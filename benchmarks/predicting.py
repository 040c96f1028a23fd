"""Predicting: the installed command against the shortest scripts that do the same. Prints a part of RESULTS.md.

The parent process imports nothing heavy, and what is compared runs in processes of its own, in shuffled order.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from processes import COMMAND, Cost, compare, run, verdict

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "models" / "lenet"


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "digit.png"
        run([sys.executable, str(HERE / "make_inputs.py"), "picture", str(picture)])
        print("## One picture, whole process\n")
        _one_picture(picture)
        print("\n## Start\n")
        _start()
        print("\n## Inside a process\n", flush=True)
        import subprocess

        subprocess.run([sys.executable, HERE / "in_process.py"], check=True)
        print("\n## Many pictures\n")
        _many(Path(folder))


def _one_picture(picture: Path) -> None:
    def plain(script: str, file: str) -> list[str]:
        return [sys.executable, str(HERE / "plain" / script), str(picture), str(MODEL / file)]

    costs = compare(
        {
            "`mnist-edge predict`": [COMMAND, "predict", str(picture), "--model", str(MODEL)],
            "plain onnxruntime": plain("ort.py", "lenet.onnx"),
        },
        rounds=31,
    )
    ours, ort = costs.values()
    costs |= compare(
        {
            "plain TorchScript": plain("torchscript.py", "lenet.torchscript.pt"),
            "plain PyTorch": plain("torch_weights.py", "weights.safetensors"),
        },
        rounds=5,
    )
    torch = min(costs["plain TorchScript"].cpu, costs["plain PyTorch"].cpu)
    print("A drawn digit of 280×280 as PNG. CPU time of all threads; the plain scripts are in `benchmarks/plain/` and get the same")
    print("environment settings. Ours finds the digit in the picture, checks the model's hash and says how sure it is; they do not.\n")
    print("| | CPU, ms | wall, ms | peak memory, MB |")
    print("|---|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {1000 * cost.cpu:.0f} | {1000 * cost.wall:.0f} | {cost.memory / 1e6:.0f} |")
    print("\n| ratio | is | aim, at most |")
    print("|---|---|---|")
    print(f"| CPU, ours to plain onnxruntime | {verdict(ours.cpu / ort.cpu, 1.1)} | 1.1 |")
    print(f"| CPU, ours to the quicker of the torch scripts | {verdict(ours.cpu / torch, 1 / 14)} | 0.071 (1/14) |")
    print(f"| peak memory, ours to plain onnxruntime | {verdict(ours.memory / ort.memory, 1.1)} | 1.1 |")


def _start() -> None:
    costs = compare(
        {
            "`import click`": [sys.executable, "-c", "import click"],
            "`mnist-edge --help`": [COMMAND, "--help"],
            "`mnist-edge --version`": [COMMAND, "--version"],
        },
        rounds=31,
    )
    click = costs["`import click`"]
    print("| | CPU, ms | ratio | aim, at most |")
    print("|---|---|---|---|")
    for name, cost in costs.items():
        ratio = "" if cost is click else verdict(cost.cpu / click.cpu, 1.3)
        print(f"| {name} | {1000 * cost.cpu:.0f} | {ratio} | {'' if cost is click else '1.3'} |")


def _many(folder: Path) -> None:
    rows: list[tuple[str, int, Cost]] = []
    for count in (1_000, 10_000):
        target = folder / f"png-{count}"
        run([sys.executable, str(HERE / "make_inputs.py"), "pngs", str(target), str(count)])
        rows.append(("PNGs of 28×28", count, run([COMMAND, "predict", str(target), "--model", str(MODEL), "--json"])))
    for count in (10_000, 100_000, 1_000_000):
        target = folder / "images-idx3-ubyte"
        run([sys.executable, str(HERE / "make_inputs.py"), "idx", str(target), str(count)])
        rows.append(("idx", count, run([COMMAND, "predict", str(target), "--model", str(MODEL), "--json"])))
        target.unlink()
    print("`mnist-edge predict … --json`; memory is the largest of its processes.\n")
    print("| | images | wall, s | µs an image | CPU, s | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    for name, count, cost in rows:
        each = 1e6 * cost.wall / count
        print(f"| {name} | {count:,} | {cost.wall:.1f} | {each:.0f} | {cost.cpu:.1f} | {cost.memory / 1e6:.0f} |")


if __name__ == "__main__":
    main()
