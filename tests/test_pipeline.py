"""Many pictures: in order, as they come, on all cores, and nothing lost when something goes wrong."""

import gzip
import io
import json
import os
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Generator
from itertools import islice
from pathlib import Path

import dies
import numpy as np
import pytest
from conftest import COMMAND, Command
from PIL import Image

from mnist_edge import Predictor
from mnist_edge.common.errors import DataError, MnistEdgeError
from mnist_edge.dataset import Dataset, drawn, idx
from mnist_edge.image import pipeline
from mnist_edge.image.pipeline import MANY, Source


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 drawn digits as PNGs, of which every fiftieth is damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, digit in enumerate(drawn.draw("test", 150).images[:, 0]):
        Image.fromarray(digit).save(folder / f"{index:03}.png")
        if index % 50 == 7:
            (folder / f"{index:03}.png").write_bytes(b"no picture")
    return folder


def write_idx(path: Path, images: np.ndarray) -> Path:
    path.write_bytes(struct.pack(">4I", 0x803, len(images), 28, 28) + images.tobytes())
    return path


def test_many_are_read_in_order_whatever_number_of_processes(pictures: Path) -> None:
    sources = [Source(str(path)) for path in sorted(pictures.iterdir())]
    sources.insert(120, Source("-", open=lambda: io.BytesIO((pictures / "003.png").read_bytes())))
    sources.insert(130, Source("none*", problem="no file matches"))
    alone = list(pipeline.read_all(sources, processes=1))
    together = list(pipeline.read_all(sources, keep_pictures=False, processes=2))
    assert [read.source.path for read in together] == [read.source.path for read in alone] == [source.path for source in sources]
    assert [read.error for read in together] == [read.error for read in alone]
    assert len([read for read in alone if read.error]) == 3 + 1
    for one, other in zip(alone, together, strict=True):
        if one.prepared is None or other.prepared is None:
            assert one.prepared is other.prepared
            continue
        assert (one.prepared.pixels == other.prepared.pixels).all()
        assert one.prepared.box == other.prepared.box
    assert alone[120].prepared is not None
    assert alone[3].prepared is not None
    assert (alone[120].prepared.pixels == alone[3].prepared.pixels).all()


def test_answers_come_before_the_last_picture_is_named(pictures: Path) -> None:
    named = 0

    def endless() -> object:
        nonlocal named
        while True:
            named += 1
            yield Source(str(pictures / "000.png"))

    reads = pipeline.read_all(endless(), processes=2)  # type: ignore[arg-type]
    assert len(list(islice(reads, 1000))) == 1000
    assert named < 1000 + MANY + 200
    reads.close()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_in_one_line(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_read_chunk", dies.die)
    with pytest.raises(MnistEdgeError, match=r"000\.png: a process that read this picture, or one soon after it, died"):
        list(pipeline.read_all([Source(str(pictures / "000.png"))] * 200, processes=2))


def test_the_command_reads_a_folder_on_all_cores_and_names_what_is_damaged(run_process: Command, models: Path, pictures: Path) -> None:
    done = run_process("predict", pictures, "--models-dir", models, "--json", check=1)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["path"]).name for line in lines] == [f"{index:03}.png" for index in range(150)]
    assert [index for index, line in enumerate(lines) if "error" in line] == [7, 57, 107]
    assert done.stderr.count("error: ") == 3
    predictor = Predictor.load("lenet", models_dir=models)
    expected = predictor.predict(pictures / "149.png")
    assert lines[149]["probabilities"] == pytest.approx(expected.probabilities)


def test_an_idx_file_is_answered_as_its_bytes_are(run_command: Command, models: Path, drawn_test: Dataset, tmp_path: Path) -> None:
    write_idx(tmp_path / "images-idx3-ubyte", drawn_test.images)
    (tmp_path / "images.gz").write_bytes(gzip.compress((tmp_path / "images-idx3-ubyte").read_bytes()))
    expected = Predictor.load("lenet", models_dir=models).logits(drawn_test.images).argmax(axis=1).tolist()
    for name in ("images-idx3-ubyte", "images.gz"):
        done = run_command("predict", name, "--models-dir", models, "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["digit"] for line in lines] == expected
        assert [line["index"] for line in lines] == list(range(1000))
        assert lines[17]["path"] == f"{name}[17]"
    csv = run_command("predict", "images.gz", "--models-dir", models, "--csv").stdout.splitlines()
    assert len(csv) == 1001
    write_idx(tmp_path / "inverted", 255 - drawn_test.images)
    dark = run_command("predict", "inverted", "--ink", "dark", "--models-dir", models, "--json")
    assert [json.loads(line)["digit"] for line in dark.stdout.splitlines()] == expected


def test_a_truncated_idx_file_keeps_what_was_whole(run_command: Command, models: Path, drawn_test: Dataset, tmp_path: Path) -> None:
    path = write_idx(tmp_path / "images", drawn_test.images)
    path.write_bytes(path.read_bytes()[: 16 + 270 * 784 + 100])
    done = run_command("predict", "images", "--models-dir", models, "--json", check=1)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 271
    assert lines[-1]["error"] == "images: truncated: it ends in image 271 of 1,000"
    assert "error: images: truncated" in done.stderr
    for other in ("--explain", "--save-input"):
        assert "idx file" in run_command("predict", "images", other, "out", "--models-dir", models, check=2).stderr


def test_an_idx_stream_names_what_is_wrong(tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    wide.write_bytes(struct.pack(">4I", 0x803, 1, 32, 32) + bytes(1024))
    with pytest.raises(DataError, match="images of 32×32 pixels"):
        list(idx.stream_images(wide, 4))
    short = tmp_path / "short"
    short.write_bytes(struct.pack(">I", 0x803))
    with pytest.raises(DataError, match="too few for an idx header"):
        list(idx.stream_images(short, 4))
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 50, 28, 28) + os.urandom(50 * 784))[:-9000])
    with pytest.raises(DataError, match="damaged gzip data"):
        list(idx.stream_images(broken, 4))
    labels = tmp_path / "labels"
    labels.write_bytes(struct.pack(">2I", 0x801, 20) + bytes(20))
    with pytest.raises(DataError, match="an idx file of labels; name the file of images"):
        list(idx.stream_images(labels, 4))
    empty = write_idx(tmp_path / "empty", np.zeros((0, 28, 28), np.uint8))
    with pytest.raises(DataError, match="without images"):
        list(idx.stream_images(empty, 4))
    long = write_idx(tmp_path / "long", np.zeros((3, 28, 28), np.uint8))
    long.write_bytes(long.read_bytes() + b"x")
    stream = idx.stream_images(long, 4)
    assert len(next(stream)) == 3
    with pytest.raises(DataError, match="too long"):
        next(stream)
    assert idx.is_idx(wide)
    assert idx.is_idx(labels)
    assert not idx.is_idx(tmp_path / "missing")


def own_group() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    os.setpgrp()


@pytest.fixture
def large(tmp_path: Path, drawn_test: Dataset) -> Path:
    """2,000 pictures of 1500×1500, which are one file."""
    folder = tmp_path / "many"
    folder.mkdir()
    Image.fromarray(drawn_test.images[0, 0]).resize((1500, 1500)).save(folder / "0000.png")
    for index in range(1, 2000):
        (folder / f"{index:04}.png").hardlink_to(folder / "0000.png")
    return folder


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    command = [COMMAND, "predict", *arguments, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=own_group)


def is_gone(group: int) -> bool:
    """Wait until no process of a group is left."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_printed_and_leaves_no_process(models: Path, large: Path) -> None:
    running = start(large, "--models-dir", models)
    assert running.stdout is not None
    assert running.stderr is not None
    seen = [running.stdout.readline() for _ in range(20)]
    os.killpg(running.pid, signal.SIGINT)
    rest, errors = running.stdout.read(), running.stderr.read()
    assert running.wait(60) == 130
    assert errors.split("\n", 1)[1].strip() == "error: interrupted"
    lines = [json.loads(line) for line in (*seen, *rest.splitlines())]
    assert 20 <= len(lines) < 2000
    assert is_gone(running.pid)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.slow
def test_whatever_ends_the_program_ends_its_processes(models: Path, large: Path, end: signal.Signals) -> None:
    running = start(large, "--models-dir", models)
    assert running.stdout is not None
    for _ in range(20):
        running.stdout.readline()
    os.kill(running.pid, end)
    running.stdout.read()  # which ends when the last process that could write to it has
    assert running.wait(60) == -end
    assert is_gone(running.pid)


@pytest.mark.parametrize("attempt", range(3))
def test_an_idx_file_is_left_cleanly_at_any_moment(models: Path, drawn_test: Dataset, tmp_path: Path, attempt: int) -> None:
    path = write_idx(tmp_path / "images", np.tile(drawn_test.images, (30, 1, 1, 1)))
    running = start(path, "--models-dir", models)
    assert running.stdout is not None
    assert running.stderr is not None
    for _ in range(1 + 300 * attempt):
        running.stdout.readline()
    running.send_signal(signal.SIGINT)
    running.stdout.read()
    assert running.wait(60) == 130
    assert running.stderr.read().split("\n", 1)[1].strip() == "error: interrupted"
    running = start(path, "--models-dir", models)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.readline()
    running.stdout.close()
    assert running.wait(60) == 1
    assert "terminate called" not in running.stderr.read()


def test_what_is_made_ahead_ends_when_it_is_left() -> None:
    closed, threads = [], set(threading.enumerate())

    def numbers() -> Generator[int, None, None]:
        try:
            yield from range(100)
        finally:
            closed.append(True)

    ahead = pipeline.ahead(numbers())
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert closed == [True]
    assert not set(threading.enumerate()) - threads
    assert list(pipeline.ahead(numbers())) == list(range(100))

    def failing() -> Generator[int, None, None]:
        yield 1
        raise DataError("broken")

    made = pipeline.ahead(failing())
    assert next(made) == 1
    with pytest.raises(DataError, match="broken"):
        next(made)


def test_a_pipe_is_not_waited_for(run_command: Command, models: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = run_command("predict", "pipe", "--models-dir", models, check=1, timeout=30)
    assert "error: pipe: not a regular file" in done.stderr
