"""Writes benchmarks/RESULTS.md: make bench

Each part runs in a process of its own and prints Markdown. Needs MNIST, and nothing else on the machine.
"""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

from machine import processor
from processes import COMMAND, ENVIRONMENT

from mnist_edge import dataset as datasets

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "RESULTS.md"


def main() -> None:
    """Run the parts and write the file."""
    datasets.load("mnist", "test")  # raises here, and not in the middle
    parts = [
        "# Results",
        "Written by `make bench`. Compare ratios, not seconds: they come from one run on one machine.",
        f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{package} {version(package)}" for package in ("onnxruntime", "torch", "numpy", "pillow", "click"))
        + ".",
        _artifacts(),
        _part("predicting.py"),
        _part("in_c.py"),
        _part("training.py"),
        _part("serving.py"),
        _part("beside_mlserver.py"),
    ]
    OUTPUT.write_text("\n\n".join(part.strip() for part in parts) + "\n")
    print(OUTPUT.read_text())


def _part(script: str) -> str:
    print(f"{script} …", file=sys.stderr, flush=True)
    return subprocess.run([sys.executable, HERE / script], check=True, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT).stdout


def _artifacts() -> str:
    """Quantize a copy of the reference LeNet, and measure every artifact."""
    print("artifacts …", file=sys.stderr, flush=True)
    with TemporaryDirectory() as folder:
        model = copytree(HERE.parent / "models" / "lenet", Path(folder) / "lenet")
        for how in ("fp16", "dynamic", "static"):
            command = [COMMAND, "export", str(model), "--format", "onnx", "--quantize", how]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False)
            if done.returncode:
                raise SystemExit(f"error: {' '.join(command)}: exit code {done.returncode}: {done.stderr[-500:]}")
        command = [COMMAND, "benchmark", str(model), "--json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    document = json.loads(done.stdout)
    rows = [
        f"| `{row['file']}` | {row['runtime']} | {row['bytes'] / 1000:.0f} | {100 * row['accuracy']:.2f} | {row['equal_answers']:,} "
        f"| {1000 * row['cold_start']:.0f} | {1000 * row['imports']:.0f} | {1000 * row['session']:.1f} | {1000 * row['first_answer']:.1f} "
        f"| {1e6 * row['latency_p50']:.0f} | {1e6 * row['latency_p99']:.0f} | {row['throughput']:,.0f} | {row['peak_memory'] / 1e6:.0f} "
        f"| {row['installed'] / 1e6:,.0f} |"
        for row in document["rows"]
    ]
    return "\n".join(
        [
            "## LeNet's artifacts: `mnist-edge benchmark lenet`",
            "",
            f"{document['threads']} thread, medians of {document['rounds']} processes each, in shuffled order. Accuracy and equal answers (of 10,000) are those",
            "proven at the export. Cold start: from starting a process to its first answer; imports, load and first answer are parts of it.",
            "",
            "| artifact | runtime | kB | accuracy, % | equal answers | cold start, ms | imports | load | first answer "
            "| p50, µs | p99, µs | images/s at 256 | peak memory, MB | installed, MB |",
            "|---" * 14 + "|",
            *rows,
        ]
    )


if __name__ == "__main__":
    main()
