"""Pictures in parts, and a Ray cluster of two nodes that answers them: each once, whoever dies."""

import gzip
import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Command
from once import lacking
from PIL import Image
from proving import as_if_made_elsewhere, elsewhere
from serving_process import free_port

from mnist_edge import Predictor
from mnist_edge.cli.predict import _is_idx
from mnist_edge.common.errors import MissingExtraError, MnistEdgeError, NotProvenError, UsageError
from mnist_edge.common.extras import is_installed
from mnist_edge.dataset import drawn
from mnist_edge.dataset.idx import stream_images
from mnist_edge.scale import parts, rows
from mnist_edge.scale.engine import JOB, Job
from mnist_edge.scale.parts import Images, Pictures
from mnist_edge.scale.shipped import pack, unpack

REFERENCE = ROOT / "models" / "lenet"


def write_idx(path: Path, images: np.ndarray, count: int | None = None) -> Path:
    body = b"\0\0\x08\x03" + np.array([len(images) if count is None else count, 28, 28], ">u4").tobytes() + images.tobytes()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return path


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 700 pictures, one that cannot be read, and an idx file of 10,000 images. Do not change it."""
    folder = tmp_path_factory.mktemp("scans")
    (folder / "png").mkdir()
    for index, pixels in enumerate(drawn.draw("test", 700).images[:, 0]):
        Image.fromarray(pixels).save(folder / "png" / f"{index:04}.png")
    (folder / "png" / "0123.png").write_bytes(b"no picture")
    write_idx(folder / "ten", np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), np.uint8))
    return folder


def named(*paths: Path) -> list[tuple[str, str | None]]:
    found = [one for path in paths for one in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return [(str(one), None) for one in found]


def needs_ray() -> None:
    if not is_installed("ray"):
        lacking("needs Ray; run: pip install 'mnist-edge[ray]'")


def locally(run_command: Command, *given: str | Path, **more: Any) -> list[dict[str, Any]]:
    done = run_command("predict", *given, "--model", REFERENCE, "--json", **more)
    return [{key: value for key, value in json.loads(line).items() if key != "milliseconds"} for line in done.stdout.splitlines()]


def test_parts_hold_everything_once_and_in_order(scans: Path, run_command: Command) -> None:
    found = parts.split(named(scans / "png", scans / "ten", scans / "png" / "0001.png"), _is_idx)
    assert [type(one) for one in found] == [Pictures] * 3 + [Images] * 3 + [Pictures]
    predictor = Predictor.load(REFERENCE)
    answers = [row for part in found for row in part.answers(predictor, "auto")]
    assert answers == locally(run_command, scans / "png", scans / "ten", scans / "png" / "0001.png", check=1)
    smaller = [half for part in found for half in part.halves()]
    assert [row["path"] for part in smaller for row in part.answers(predictor, "auto")] == [row["path"] for row in answers]
    while len(smaller) != len(smaller := [half for part in smaller for half in part.halves()]):
        pass
    assert len(smaller) == len(answers)


@pytest.mark.parametrize("fault", ["short", "long", "empty", "labels", "gz"])
def test_a_damaged_idx_file_is_told_as_predict_tells_it(tmp_path: Path, run_command: Command, fault: str) -> None:
    images = np.zeros((9000, 28, 28), np.uint8)
    path = write_idx(
        tmp_path / ("damaged.gz" if fault == "gz" else "damaged"), images, {"short": 9001, "long": 8999, "empty": 0}.get(fault)
    )
    if fault == "labels":
        path.write_bytes(b"\0\0\x08\x01" + b"\0\0\x23\x28" + bytes(9000))
    if fault == "gz":
        path.write_bytes(path.read_bytes()[:-20])
    predictor = Predictor.load(REFERENCE)
    found = [row for part in parts.split(named(path), _is_idx) for row in part.answers(predictor, "auto")]
    assert found == locally(run_command, path, check=1)
    assert "error" in found[-1] and not any("error" in row for row in found[:-1])


def test_a_part_of_an_idx_file_is_that_part(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (100, 1, 28, 28), np.uint8)
    for name in ("plain", "packed.gz"):
        path = write_idx(tmp_path / name, images)
        np.testing.assert_array_equal(np.concatenate(list(stream_images(path, 7, 13, 40))), images[13:40])
        np.testing.assert_array_equal(np.concatenate(list(stream_images(path, 7, 95))), images[95:])


def test_a_model_that_was_sent_answers_as_it_did(tmp_path: Path, scans: Path) -> None:
    sent = pack(REFERENCE / "lenet.int8-static.onnx", "ort", None, False)
    assert set(sent.files) == {"manifest.json", "lenet.int8-static.onnx"}
    predictor, _ = unpack(sent)
    expected = Predictor.load(REFERENCE / "lenet.int8-static.onnx")
    assert predictor.threshold == expected.threshold
    images = drawn.draw("test", 20).images
    np.testing.assert_array_equal(predictor.logits(images), expected.logits(images))
    assert sent.sha256 != pack(REFERENCE, "ort", None, False).sha256
    damaged = sent._replace(files=sent.files | {"lenet.int8-static.onnx": b"damaged"})
    with pytest.raises(MnistEdgeError):
        unpack(damaged)
    with pytest.raises(UsageError, match="runtime torch uses none"):
        pack(REFERENCE, "torch", None, False)


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_command: Command) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--engine ray needs ray, which is not installed; run: pip install 'mnist-edge\[ray\]'"):
        Job([], pack(REFERENCE, "ort", None, False), tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--engine", "ray"), "name it with --output"),
        (("--output", "out"), "--output and --parquet are for --engine ray"),
        (("--engine", "ray", "--output", "out", "--csv"), "--csv and --engine ray cannot be used together"),
        (("--engine", "ray", "--output", "out", "--min-confidence", "0.5"), "--min-confidence and --engine ray cannot be used together"),
    ],
)
def test_options_that_do_not_go_together(run_command: Command, picture: Path, given: tuple[str, ...], message: str) -> None:
    assert message in run_command("predict", picture, "--model", REFERENCE, *given, check=2).stderr
    assert "standard input" in run_command("predict", "-", "--engine", "ray", "--output", "out", check=2).stderr


# On a real cluster.


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two nodes with a processor each, of which the second may be killed."""
    needs_ray()
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # other tests' memory ends no worker
    import ray
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 80 * 2**20}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    found.add_node(num_cpus=1, **memory)
    ray.init(found.address, log_to_driver=False, logging_level="ERROR")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def read(job: Job) -> list[dict[str, Any]]:
    return [json.loads(line) for number in range(len(job.parts)) for line in job.file(number).read_bytes().splitlines()]


class Slow(Pictures):
    """Pictures of which each takes a moment, so that a node dies in the middle of one."""

    def answers(self, predictor: Predictor, ink: str) -> Iterator[dict[str, Any]]:
        import time

        for row in super().answers(predictor, ink):
            time.sleep(0.01)
            yield row


class Deadly(Pictures):
    """Pictures of which one kills the process that reads it."""

    def halves(self) -> list[Any]:
        return [Deadly(half.names) for half in super().halves()]

    def answers(self, predictor: Predictor, ink: str) -> Iterator[dict[str, Any]]:
        for name in self.names:
            if name[0].endswith("0007.png"):
                os.kill(os.getpid(), signal.SIGKILL)
            yield from Pictures((name,)).answers(predictor, ink)


@pytest.mark.proof
def test_a_node_that_dies_loses_no_picture_and_answers_none_twice(cluster: Any, scans: Path, tmp_path: Path, run_command: Command) -> None:
    names = named(scans / "png")
    job = Job([Slow(tuple(names[at : at + 50])) for at in range(0, len(names), 50)], pack(REFERENCE, "ort", None, False), tmp_path / "out")
    (other,) = [node for node in cluster.list_all_nodes() if node is not cluster.head_node]
    seen: list[int] = []

    def kill(done: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            cluster.remove_node(other, allow_graceful=False)

    summary = job.run(kill)
    assert len(seen) > 5
    assert read(job) == locally(run_command, scans / "png", check=1)  # the same answers in the same order, bit for bit
    assert (summary.rows, summary.errors, summary.parts, summary.kept) == (700, 1, 14, 0)
    assert sorted(one.name for one in (tmp_path / "out").iterdir() if not one.name.startswith(".")) == [
        JOB,
        *(f"part-{number:06}.jsonl" for number in range(14)),
    ]


@pytest.mark.proof
def test_a_job_that_was_stopped_goes_on_and_a_picture_that_kills_is_told(
    cluster: Any, scans: Path, tmp_path: Path, run_command: Command
) -> None:
    names = named(scans / "png")[:100]
    model = pack(REFERENCE, "ort", None, False)
    job = Job([Deadly(tuple(names[:20])), *(Pictures(tuple(names[at : at + 20])) for at in range(20, 100, 20))], model, tmp_path / "out")

    def stop(done: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(stop)
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    assert 0 < len(there) < 5
    summary = job.run()
    assert summary.kept == len(there) and all(path.stat().st_mtime_ns == time for path, time in there.items())
    found, expected = read(job), locally(run_command, *(path for path, _ in names))
    assert found[:7] + found[8:] == expected[:7] + expected[8:]
    assert found[7]["path"].endswith("0007.png") and "the process that read this picture died 4 times" in found[7]["error"]
    assert (summary.rows, summary.errors) == (100, 1)
    for other, what in (
        (Job(job.parts[1:], model, tmp_path / "out"), "other pictures"),
        (Job(job.parts, pack(REFERENCE / "lenet.int8-static.onnx", "ort", None, False), tmp_path / "out"), "another model"),
        (Job(job.parts, model, tmp_path / "out", "parquet"), "another form"),
        (Job(job.parts, model, tmp_path / "out", ink="dark"), "another ink"),
    ):
        with pytest.raises(UsageError, match=f"was started with {what}"):
            other.run()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(UsageError, match=r"holds letter\.txt, and no _job\.json"):
        Job(job.parts, model, tmp_path / "full").run()


@pytest.mark.proof
def test_the_command_writes_parquet_on_the_cluster(cluster: Any, scans: Path, tmp_path: Path, run_command: Command) -> None:
    import pyarrow.parquet as pq

    given = ("predict", scans / "png", scans / "ten", "--model", REFERENCE, "--engine", "ray", "--output", "out", "--parquet", "--json")
    document = json.loads(run_command(*given, check=1).stdout)
    assert document == {"output": "out", "answers": 10_700, "errors": 1, "parts": 6, "kept": 0}
    assert json.loads(run_command(*given, check=1).stdout) == document | {"kept": 6}
    found = [row for file in sorted((tmp_path / "out").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert pq.read_table(tmp_path / "out").to_pylist() == found  # the folder is one table for whoever reads it
    expected = locally(run_command, scans / "png", scans / "ten", check=1)
    assert [{key: row[key] for key in expected[0] if key != "index"} for row in found] == [
        {key: row.get(key) for key in expected[0] if key != "index"} for row in expected
    ]
    assert [row["index"] for row in found] == [row.get("index") for row in expected]
    halves = [rows.encoded(expected[:3], "parquet"), rows.encoded(expected[3:5], "parquet")]
    (tmp_path / "joined").write_bytes(rows.joined(halves, "parquet"))
    assert rows.counted(tmp_path / "joined", "parquet") == (5, 0)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"require_proof": "1"}, "require_proof=1: give true or false"), ({"replicas": "x"}, "replicas=x: give a whole number of at least 1")],
)
def test_ray_serve_refuses_arguments_that_it_would_misread(arguments: dict[str, str], words: str) -> None:
    needs_ray()
    from mnist_edge.scale.serve import app

    with pytest.raises(UsageError, match=words):
        app(arguments)


@pytest.mark.proof
@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_damaged_record_of_a_job_is_told(content: str, tmp_path: Path) -> None:
    needs_ray()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_job.json").write_text(content)
    with pytest.raises(UsageError, match=r"_job\.json: damaged .*; name another --output"):
        Job([], pack(REFERENCE, "ort", None, False), tmp_path / "out").run()


@pytest.mark.proof
def test_a_machine_on_which_nothing_is_proven_refuses_where_a_proof_is_required(cluster: Any, scans: Path, tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "lenet")
    as_if_made_elsewhere(tmp_path / "lenet", platform=elsewhere())
    names = tuple(named(scans / "png")[:3])
    proven_elsewhere = pack(tmp_path / "lenet", "openvino", None, True)
    with pytest.raises(NotProvenError, match=r"to prove it there, run mnist-edge verify on such a machine$") as refused:
        Job([Pictures(names)], proven_elsewhere, tmp_path / "out").run()
    assert "/" not in str(refused.value).partition(":")[2]  # where it was unpacked is gone


@pytest.mark.proof
def test_answers_in_a_pipeline_of_ray_data(cluster: Any, scans: Path, run_command: Command) -> None:
    import ray

    from mnist_edge.scale.batches import Answers

    pictures = ray.data.read_binary_files(str(scans / "png"), include_paths=True).limit(300)
    found = pictures.map_batches(Answers, fn_constructor_kwargs={"model": str(REFERENCE)}, concurrency=1, batch_size=50).take_all()
    expected = {row["path"]: row for row in locally(run_command, scans / "png", check=1)}
    assert len({row["path"] for row in found}) == len(found) == 300
    for row in found:
        wanted = expected[row["path"]]
        assert "bytes" not in row
        assert (int(row["digit"]), bool(row["error"])) == ((-1, True) if "error" in wanted else (wanted["digit"], False))
        if "error" not in wanted:
            assert list(row["probabilities"]) == wanted["probabilities"]


def _when_routed(url: str) -> Any:
    """Return what a URL answers as JSON. Ray's proxy answers 404 until it has heard of the route."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code != 404 or time.monotonic() > until:
                raise
        time.sleep(0.2)


@pytest.mark.proof
def test_ray_serve_answers_pictures_and_refuses_others(cluster: Any, scans: Path, run_command: Command) -> None:
    from ray import serve

    from mnist_edge.scale.serve import app

    port = free_port()
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})  # both nodes are this machine
    try:
        serve.run(app({"model": str(REFERENCE)}))
        url = f"http://127.0.0.1:{port}"
        assert _when_routed(f"{url}/v2/health/ready")["ready"] is True
        path = scans / "png" / "0005.png"
        with urllib.request.urlopen(urllib.request.Request(f"{url}/predict", path.read_bytes()), timeout=60) as reply:
            answer = json.load(reply)
        (expected,) = locally(run_command, path)
        assert answer["digit"] == expected["digit"] and answer["probabilities"] == expected["probabilities"]
        pixels = np.random.default_rng(2).integers(0, 256, (3, 1, 28, 28), np.uint8)
        raw = {"Inference-Header-Content-Length": "0"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v2/models/lenet/infer", pixels.tobytes(), raw), timeout=60) as reply:
            content, header = reply.read(), int(reply.headers["Inference-Header-Content-Length"])
        assert content[header:] == Predictor.load(REFERENCE).logits(pixels).tobytes()
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(urllib.request.Request(f"{url}/predict", b"no picture"), timeout=60)
        assert error.value.code == 400 and "error" in json.load(error.value)
    finally:
        serve.shutdown()
    with pytest.raises(UsageError, match="unknown argument modl"):
        app({"modl": "lenet"})
