"""LeNet in C: natively against onnxruntime, as WebAssembly against native, and its page. Prints a part of RESULTS.md."""

import gzip
import os
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
from processes import COMMAND, ENVIRONMENT, run, verdict

from mnist_edge import runtimes, store
from mnist_edge.benchmark.latency import latencies
from mnist_edge.dataset import load

MODEL = Path(__file__).resolve().parents[1] / "models" / "lenet"

#: WebAssembly is called from Python here. In a batch of this size, that is a small part of the time.
BATCH = 64

STATIC = ("--quantize", "static")

#: How often the page is opened.
VISITS = 9


def main() -> None:
    """Export, measure and print."""
    with TemporaryDirectory() as folder:
        model = store.Model.read(Path(shutil.copytree(MODEL, Path(folder) / "lenet")))
        for format_name, *how in (("c", "--target", "none"), ("c", "--target", "none", *STATIC), ("web", *STATIC)):
            run([COMMAND, "export", str(model.folder), "--format", format_name, *how])
        print("## LeNet in C\n")
        print(f"Compiled by {runtimes.get('native').version()}; as WebAssembly by {runtimes.get('wasm').version()}. One thread.\n")
        _speed(model.folder)
        _page(model.folder)


def _speed(folder: Path) -> None:
    images = load("mnist", "test").images
    print("| one image, µs | onnxruntime | native | ratio | aim, at most |")
    print("|---|---|---|---|---|")
    native = {}
    for precision, onnx, code, aim in (
        ("float32", "lenet.onnx", "lenet.c", 0.7),
        ("int8-static", "lenet.int8-static.onnx", "lenet.int8-static.c", 0.8),
    ):
        native[precision] = runtimes.get("native").load(folder / code)
        times = latencies({"ort": runtimes.get("ort").load(folder / onnx), "native": native[precision]}, images[:1], blocks=25)
        ort, ours = (1e6 * float(np.median(times[name])) for name in ("ort", "native"))
        print(f"| {precision} | {ort:.1f} | {ours:.1f} | {verdict(ours / ort, aim)} | {aim} |")
    page = folder / "lenet.int8-static.web"
    both = latencies({"native": native["int8-static"], "wasm": runtimes.get("wasm").load(page)}, images[:BATCH], blocks=25)
    ours, there = (1e6 * float(np.median(both[name])) / BATCH for name in ("native", "wasm"))
    print("\n| int8-static, µs an image | native | WebAssembly | ratio | aim, at most |")
    print("|---|---|---|---|---|")
    print(f"| in wasmtime, in batches of {BATCH} | {ours:.1f} | {there:.1f} | {there / ours:.2f} | |")
    if node := shutil.which("node"):
        with TemporaryDirectory() as scratch:
            image = Path(scratch) / "image"
            image.write_bytes(images[0].tobytes())
            script = Path(__file__).with_name("wasm_speed.mjs")
            there = float(subprocess.run([node, script, page / "model.wasm", image], stdout=subprocess.PIPE, text=True, check=True).stdout)
        print(f"| in V8, where a page runs in Chromium and in node | {ours:.1f} | {there:.1f} | {verdict(there / ours, 2.0)} | 2.0 |")


def _page(folder: Path) -> None:
    page = folder / "lenet.int8-static.web"
    sent = sum(len(gzip.compress(file.read_bytes(), 9, mtime=0)) for file in page.iterdir() if file.name != "README.md")
    print("\n| page, int8-static | is | aim, at most |")
    print("|---|---|---|")
    print(f"| bytes of all files, each compressed by gzip | {sent:,}{'' if sent <= 90_000 else ' (missed)'} | 90,000 |")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("| from navigation to ready | not measured: playwright is not installed | 300 ms |")
        return
    chromium = shutil.which("chromium")
    if chromium is None:
        print("| from navigation to ready | not measured: chromium is not installed | 300 ms |")
        return
    version = subprocess.run([chromium, "--version"], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, check=True).stdout.split()[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: _Quiet(*a, directory=str(page)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(VISITS):
            tab = browser.new_context().new_page()  # nothing cached
            tab.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            tab.wait_for_selector('html[data-state="ready"]')
            times.append(tab.evaluate("performance.getEntriesByName('ready')[0]?.startTime ?? NaN"))
            tab.context.close()
        browser.close()
    server.shutdown()
    ms = median(times)
    print(f"| from navigation to ready, ms, in Chromium {version.split('.')[0]}, median of {VISITS} | {verdict(ms, 300)} | 300 |")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    main()
