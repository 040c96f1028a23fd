"""Predicting: the installed command against the shortest scripts that do the same. Prints a part of RESULTS.md.

The parent process imports nothing heavy, and what is compared runs in processes of its own, in shuffled order.
"""

import sys
from pathlib import Path
from shutil import copytree
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
        print("\n## One picture in C, whole process\n")
        _in_c(picture, Path(folder))
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
            "plain onnxruntime, told to take one thread": plain("ort_one_thread.py", "lenet.onnx"),
        },
        rounds=31,
    )
    ours, *plain_ort = costs.values()
    ort = min(plain_ort, key=lambda cost: cost.cpu)
    costs |= compare(
        {
            "plain TorchScript": plain("torchscript.py", "lenet.torchscript.pt"),
            "plain PyTorch": plain("torch_weights.py", "weights.safetensors"),
        },
        rounds=5,
    )
    print("A drawn digit of 280×280 as PNG. CPU time of all threads; the plain scripts are in `benchmarks/plain/` and get the same")
    print("environment settings. Ours finds the digit in the picture, checks the model's hash and says how sure it is; they do not.\n")
    print("| | CPU, ms | wall, ms | peak memory, MB |")
    print("|---|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {1000 * cost.cpu:.0f} | {1000 * cost.wall:.0f} | {cost.memory / 1e6:.0f} |")
    print("\n| ratio | is | aim, at most |")
    print("|---|---|---|")
    print(f"| CPU, ours to the quicker of the onnxruntime scripts | {verdict(ours.cpu / ort.cpu, 1.1)} | 1.1 |")
    for name in ("plain PyTorch", "plain TorchScript"):
        print(f"| CPU, ours to {name} | {verdict(ours.cpu / costs[name].cpu, 1 / 14)} | 0.071 (1/14) |")
    print(
        f"| peak memory, ours to the smaller of the onnxruntime scripts | {verdict(ours.memory / min(c.memory for c in plain_ort), 1.1)} | 1.1 |"
    )


def _in_c(picture: Path, folder: Path) -> None:
    model = str(copytree(MODEL, folder / "lenet"))
    run([COMMAND, "export", model, "--format", "c", "--target", "none"])
    run([COMMAND, "verify", model])  # so that neither runtime warns
    command = [COMMAND, "predict", str(picture), "--model", model, "--runtime"]
    ort, native = compare({name: [*command, name] for name in ("ort", "native")}, rounds=31).values()
    print("| `mnist-edge predict` | `--runtime ort` | `--runtime native` | ratio | aim, at most |")
    print("|---|---|---|---|---|")
    print(f"| CPU, ms | {1000 * ort.cpu:.0f} | {1000 * native.cpu:.0f} | {verdict(native.cpu / ort.cpu, 0.6)} | 0.6 |")
    print(f"| peak memory, MB | {ort.memory / 1e6:.0f} | {native.memory / 1e6:.0f} | {native.memory / ort.memory:.3f} | |")


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
    (quick,) = compare({"quick": [COMMAND, "verify", str(MODEL), "--quick", "--runtime", "ort"]}).values()
    print(
        f"\n`mnist-edge verify --quick --runtime ort`: {quick.wall:.2f} s with start-up (aim: below 0.5 s). Without torch `--runtime ort` is"
    )
    print("not needed; with it, the TorchScript file takes another two seconds, for importing torch.")


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
    few_pngs, pngs, _, few, many = (cost for _, _, cost in rows)
    print("\n| ratio | is | aim, at most |")
    print("|---|---|---|")
    print(f"| memory, 10,000 PNGs to 1,000 | {verdict(pngs.memory / few_pngs.memory, 1.1)} | 1.1 (flat) |")
    print(f"| memory, idx of 1,000,000 to 100,000 | {verdict(many.memory / few.memory, 1.1)} | 1.1 (flat) |")
    print(f"| time, 10,000 PNGs to ten times 1,000 | {verdict(pngs.wall / few_pngs.wall / 10, 1.1)} | 1.1 (linear) |")
    print(f"| time, idx of 1,000,000 to ten times 100,000 | {verdict(many.wall / few.wall / 10, 1.1)} | 1.1 (linear) |")
    print(f"| wall to CPU time, 10,000 PNGs | {verdict(pngs.wall / pngs.cpu, 0.75)} | 0.75 (both cores at work) |")


if __name__ == "__main__":
    main()
