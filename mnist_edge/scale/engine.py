"""Pictures answered on a Ray cluster: each part by one of Ray's processes, each part's answers written once, in one step.

A part is either a file in the output folder or not done. That makes a job resumable, and it is why no picture is lost or answered twice, however
often Ray starts a task again. The process that starts the job writes, so the machines of the cluster need no common disk for the answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_edge.common.errors import MnistEdgeError, UsageError, one_line, printable
from mnist_edge.common.extras import require
from mnist_edge.common.files import write_atomically
from mnist_edge.common.locks import locked
from mnist_edge.scale import rows
from mnist_edge.scale.parts import Part
from mnist_edge.scale.shipped import Shipped, unpack

if TYPE_CHECKING:
    from mnist_edge.predictor import Predictor

INSTALL = "pip install 'mnist-edge[ray]'"

#: How often Ray starts a task again whose process or machine died, before the part is divided to find the picture that kills.
RETRIES = 3

#: What a job is, in its output folder. Readers of a folder of Parquet files leave out names that begin so.
JOB = "_job.json"


class Answered(NamedTuple):
    """What a process of Ray gives back: the bytes of a file, the number of rows and of errors among them, and what is not proven there."""

    body: bytes
    rows: int
    errors: int
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A finished job: its parts, its rows, the errors among these, and how many parts were there already."""

    parts: int
    rows: int
    errors: int
    kept: int
    unproven: tuple[str, ...]


class Job:
    """Parts to be answered by a model, and the folder for their answers.

    `form` is ``jsonl`` or ``parquet``; `ink` is as in `Predictor.predict`.
    """

    def __init__(self, parts: Sequence[Part], shipped: Shipped, folder: Path, form: str = "jsonl", ink: str = "auto") -> None:
        require("--engine ray", "ray", *(["pyarrow"] if form == "parquet" else []), install=INSTALL)
        self.parts, self.shipped, self.folder, self.form, self.ink = parts, shipped, folder, form, ink

    def file(self, number: int) -> Path:
        """Return the place of a part's answers."""
        return self.folder / f"part-{number:06}{rows.SUFFIXES[self.form]}"

    def run(self, on_rows: Callable[[int], None] = lambda rows: None) -> Summary:
        """Answer what is not answered yet, and tell how many rows are there after each part.

        Raises UsageError if the folder holds something else, or another program works on it; MnistEdgeError for what a process of Ray reports,
        such as a missing extra or, if a proof is required, a machine of another kind; OSError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder) as is_ours:
            if not is_ours:
                raise UsageError(f"{self.folder}: another program is writing into it; wait for it, or name another --output")
            self._claim()
            kept = [number for number in range(len(self.parts)) if self.file(number).exists()]
            counts = [rows.counted(self.file(number), self.form) for number in kept]
            done, errors = sum(one for one, _ in counts), sum(one for _, one in counts)
            unproven: set[str] = set()
            there = set(kept)
            todo = [number for number in range(len(self.parts)) if number not in there]
            on_rows(done)
            if todo:
                with _connected():
                    for number, answered in self._answered(todo):
                        write_atomically(self.file(number), answered.body)
                        done, errors = done + answered.rows, errors + answered.errors
                        unproven.update(answered.unproven)
                        on_rows(done)
            return Summary(len(self.parts), done, errors, len(kept), tuple(sorted(unproven)))

    def _claim(self) -> None:
        """Write what this job is, or check that the folder is this job's."""
        parts = json.dumps([[type(part).__name__, *part] for part in self.parts])
        about = {
            "model": self.shipped.file,
            "runtime": self.shipped.runtime,
            "model_sha256": self.shipped.sha256,
            "ink": self.ink,
            "form": self.form,
            "parts": len(self.parts),
            "parts_sha256": hashlib.sha256(parts.encode()).hexdigest(),
        }
        path = self.folder / JOB
        try:
            before = json.loads(path.read_bytes())
        except FileNotFoundError:
            others = [one.name for one in self.folder.iterdir() if not one.name.startswith(".")]
            if others:
                raise UsageError(f"{self.folder}: holds {printable(others[0])}, and no {JOB}; name an empty folder with --output") from None
            write_atomically(path, (json.dumps(about, indent=1) + "\n").encode())
            return
        except ValueError as error:
            raise UsageError(f"{path}: damaged ({error}); name another --output") from error
        if not isinstance(before, dict):
            raise UsageError(f"{path}: damaged (it holds no object); name another --output")
        if differing := [key for key in about if before.get(key) != about[key]]:
            what = "other pictures" if differing[0].startswith("parts") else f"another {differing[0].partition('_')[0]}"
            raise UsageError(f"{self.folder}: was started with {what}; give the same, or name another --output")

    def _answered(self, todo: Sequence[int]) -> Iterator[tuple[int, Answered]]:
        """Give the answers of each part as they are ready."""
        import ray

        sent = ray.put(self.shipped)
        task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_answer)
        begun: dict[int, list[tuple[Part, Answered | None]]] = {}
        waiting: dict[Any, tuple[int, Part]] = {}

        def submit(number: int, piece: Part) -> None:
            waiting[task.remote([sent], self.shipped.sha256, piece, self.form, self.ink)] = number, piece

        numbers = iter(todo)
        while True:
            while len(waiting) < 2 + 2 * _processors() and (number := next(numbers, None)) is not None:
                begun[number] = [(self.parts[number], None)]
                submit(number, self.parts[number])
            if not waiting:
                return
            ready, _ = ray.wait([*waiting], timeout=10)
            for reference in ready:
                number, piece = waiting.pop(reference)
                pieces = begun[number]
                at = next(index for index, (one, _) in enumerate(pieces) if one is piece)
                answered = _fetched(reference)
                halves = piece.halves() if answered is None else []
                if len(halves) > 1:
                    pieces[at : at + 1] = [(half, None) for half in halves]
                    for half in halves:
                        submit(number, half)
                    continue
                pieces[at] = piece, answered or self._lost(piece)
                found = [one for _, one in pieces if one is not None]
                if len(found) == len(pieces):
                    del begun[number]
                    body = rows.joined([one.body for one in found], self.form)
                    unproven = tuple({line for one in found for line in one.unproven})
                    yield number, Answered(body, sum(one.rows for one in found), sum(one.errors for one in found), unproven)

    def _lost(self, piece: Part) -> Answered:
        path, index = piece.first
        name = path if index is None else f"{path}[{index}]"
        why = (
            f"{printable(name)}: the process that read this picture died {RETRIES + 1} times, perhaps because memory ran out; leave it out"
        )
        return Answered(rows.encoded([rows.row(name, position=index, error=why)], self.form), 1, 1)


_loaded: dict[str, tuple[Predictor, tuple[str, ...]]] = {}


def _answer(sent: list[Any], model: str, piece: Part, form: str, ink: str) -> Answered:
    """Answer a part in a process of Ray, which keeps the model for the next one."""
    import ray

    if model not in _loaded:
        _loaded.clear()
        _loaded[model] = unpack(ray.get(sent[0]))
    predictor, unproven = _loaded[model]
    found = list(piece.answers(predictor, ink))
    return Answered(rows.encoded(found, form), len(found), sum("error" in one for one in found), unproven)


def _fetched(reference: Any) -> Answered | None:
    """Return what a task gave; None if its process or machine died more often than Ray tries. Raises MnistEdgeError for what it raised."""
    import ray
    from ray import exceptions

    try:
        answered: Answered = ray.get(reference)
        return answered
    except exceptions.RayTaskError as error:
        if isinstance(error.cause, MnistEdgeError):
            raise error.cause from None
        raise MnistEdgeError(f"a process of Ray failed: {one_line(error.cause or error)}") from error
    except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError, exceptions.ObjectLostError):
        return None
    except exceptions.RayError as error:
        raise MnistEdgeError(f"Ray failed: {one_line(error)}; the finished parts are kept; run the same command to continue") from error


def _processors() -> int:
    import ray

    return int(ray.cluster_resources().get("CPU", 0))


@contextmanager
def _connected() -> Iterator[None]:
    """Connect to the cluster that RAY_ADDRESS names, or start one on this machine; a connection that is there already is used and kept."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray sends statistics to its makers
    import ray

    if ray.is_initialized():
        yield
        return
    # without an address, Ray would look for the cluster that was last started here, and wait for ever for one that is gone
    address = os.environ.get("RAY_ADDRESS") or "local"
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level="ERROR", **({"include_dashboard": False} if address == "local" else {}))
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise MnistEdgeError(
            f"no Ray cluster at {printable(address)}: {one_line(error)}; start one with ray start --head, or unset RAY_ADDRESS to use this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError if nothing answers at ``host:port``; Ray itself waits for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
