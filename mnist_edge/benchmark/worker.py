"""A separate process that loads one artifact, answers, and reports in JSON how long each step took and how much memory it used.

Called as ``python -m mnist_edge.benchmark.worker '{"runtime": …, "path": …, "threads": 1, "started": <time.time()>, "seconds": 0.5}'``.
"""

import json
import sys
import time

STARTED = time.time()


def main() -> None:
    """Measure, and print one JSON document."""
    order = json.loads(sys.argv[1])
    before = time.perf_counter()
    from importlib import import_module
    from pathlib import Path

    from mnist_edge import runtimes

    runtime = runtimes.get(order["runtime"])
    module = import_module(runtime.module)
    imported = time.perf_counter()
    path = Path(order["path"])
    if runtime.from_weights:
        from mnist_edge.common.trust import allow
        from mnist_edge.store import Model

        for network in order["allowed"]:
            allow(network)
        run = module.load_model(Model.read(path), order["threads"])
    else:
        run = module.load(path, order["threads"])
    loaded = time.perf_counter()
    import numpy as np

    pixels = np.zeros((256, 1, 28, 28), np.uint8)
    pixels[:, :, 6:22, 13:16] = 255  # a 1
    first = run(pixels[:1])
    answered = time.perf_counter()
    memory = _peak_memory()

    from mnist_edge.benchmark.latency import repeat
    from mnist_edge.common.logits import check

    check(first, 1)
    check(run(pixels), len(pixels))
    repeat(run, pixels[:1], order["seconds"] / 4)
    single = np.array(repeat(run, pixels[:1], order["seconds"]))
    batches = repeat(run, pixels, order["seconds"])
    result = {
        "start": STARTED - order["started"],
        "imports": imported - before,
        "session": loaded - imported,
        "first_answer": answered - loaded,
        "latency_p50": float(np.percentile(single, 50)),
        "latency_p99": float(np.percentile(single, 99)),
        "throughput": len(pixels) / float(np.median(batches)),
        "peak_memory": memory,
    }
    sys.stdout.write(json.dumps(result))


def _peak_memory() -> int | None:
    """Return this process's largest resident size in bytes, None where the system does not tell.

    Linux's getrusage would count the parent's, from before the exec.
    """
    try:
        with open("/proc/self/status") as status:  # noqa: PTH123 - pathlib was imported above, and this is read once
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
