"""What several processes and Ray cost on this machine, for docs/scale.md: run it while nothing else runs.

``python benchmarks/scale.py torchrun`` trains VGG, two processes of one thread against one of two, in turns, and compares the last epochs.
``python benchmarks/scale.py ray`` answers the same pictures by `mnist-edge predict` and on a cluster of two nodes with a processor each.
Both print a line of JSON each run, and the ratio of the medians.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from mnist_edge.dataset import drawn

COMMAND = [sys.executable, "-m", "mnist_edge"]
REFERENCE = Path(__file__).resolve().parents[1] / "models" / "lenet"


def timed(line: list[object], **env: str) -> tuple[float, float]:
    """Run a command; return its wall time and the processor time of its process and its children, in seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*map(str, line)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def torchrun(rounds: int, images: int, scratch: Path) -> None:
    """Compare the second of two epochs."""
    together = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "mnist_edge"]
    ways = {"one process of two threads": [*COMMAND, "--threads=2"], "two processes of one thread": [*together, "--threads=1"]}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, (*start, threads) in ways.items():
            models = scratch / f"{turn}-{len(found[name])}-{threads[-1]}"
            timed([*start, "train", "vgg", threads, "--epochs", 2, "--train-images", images, "--models-dir", models])
            rows = [json.loads(line) for line in (models / "vgg" / "history.jsonl").read_text().splitlines()]
            found[name].append(rows[-1]["seconds"])
            print(json.dumps({"way": name, "seconds": rows[-1]["seconds"], "held_out": rows[-1]["validation_accuracy"]}), flush=True)
    one, two = (statistics.median(times) for times in found.values())
    print(f"an epoch on {images:,} images: {one:.1f} s and {two:.1f} s; two processes take {two / one:.2f} of the time of one")


def ray(rounds: int, images: int, scratch: Path) -> None:
    """Compare whole commands: start, model and answers; the cluster is there already."""
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # else other programs would slow only Ray
    folder = scratch / "pictures"
    folder.mkdir()
    for index, pixels in enumerate(drawn.draw("test", images).images[:, 0]):
        Image.fromarray(pixels).save(folder / f"{index:06}.png")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    found: dict[str, list[float]] = {"predict": [], "predict --engine ray": []}
    try:
        for turn in range(rounds):
            for name in found:
                more = ["--json"] if name == "predict" else ["--engine", "ray", "--output", scratch / f"out-{turn}"]
                wall, processor = timed([*COMMAND, "predict", folder, "--model", REFERENCE, *more], RAY_ADDRESS=cluster.address)
                found[name].append(wall)
                print(json.dumps({"way": name, "seconds": round(wall, 2), "processor_seconds_here": round(processor, 2)}), flush=True)
    finally:
        cluster.shutdown()
    one, two = (statistics.median(times) for times in found.values())
    print(f"{images:,} pictures: {one:.1f} s and {two:.1f} s; two nodes answer {one / two:.2f} times as many a second as predict")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["torchrun", "ray"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, help="images of MNIST to train on (12,000), or pictures to answer (30,000)")
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp())
    try:
        if given.what == "torchrun":
            torchrun(given.rounds, given.images or 12_000, place)
        else:
            ray(given.rounds, given.images or 30_000, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
