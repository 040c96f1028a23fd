"""What an operator watches, counted by all workers in memory that they share, and written as text for Prometheus.

Each worker counts in a row of its own, so nothing is locked. A worker that takes the place of another goes on with its row, so that no
count ever falls; but for those of a version that is not served any more, where room is needed. Any worker can write the figures of all of them.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: What requests are counted by: kinds of paths, and status codes. 499 is a client that went away before it had its answer.
PATHS = ("infer", "predict", "health", "metadata", "index", "metrics", "page", "docs", "other")
CODES = (200, 400, 401, 404, 405, 408, 413, 415, 421, 431, 499, 500, 503)

#: Upper ends of the histograms' buckets: seconds, and confidences.
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)

#: A worker counts the answers of at most so many models, each with at most so many classes. Names are cut at so many bytes.
MODELS, CLASSES, NAME = 64, 32, 64

_CODE = {code: at for at, code in enumerate(CODES)}
_PATH = {path: at for at, path in enumerate(PATHS)}

# A row: numbers of eight bytes, then the models. Their names come first in each model, as bytes.
_IN_FLIGHT, _STARTS, _SHED, _UNLOGGED = 0, 1, 2, 3
_REQUESTS = 4
_LATENCY = _REQUESTS + len(PATHS) * len(CODES)
_BUCKETS = len(SECONDS) + 2  # one for infinity, and the sum
_MODEL = _LATENCY + len(PATHS) * _BUCKETS
_LABELS = (2 * NAME + CLASSES * NAME) // 8  # name, version, classes
_CONFIDENCE = len(CONFIDENCES) + 2
_MODEL_SIZE = _LABELS + CLASSES + _CONFIDENCE
_ROW = _MODEL + MODELS * _MODEL_SIZE


class Metrics:
    """Memory for the counts of `rows` workers; the processes that are forked later share it."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.memory = mmap.mmap(-1, 8 * _ROW * rows)

    def row(self, number: int) -> Row:
        """Return a worker's row."""
        return Row(self.memory, number)

    def text(self) -> str:
        """Return the figures of all workers in Prometheus' text format, version 0.0.4."""
        return "".join(_lines([self.row(number) for number in range(self.rows)]))


class Tally(NamedTuple):
    """Answers to be counted: (index of a class, how many), (bucket of `CONFIDENCES`, how many), and the sum of their confidences."""

    digits: list[tuple[int, int]]
    confidences: list[tuple[int, int]]
    sum: float


class Counts(NamedTuple):
    """The answers of a model: where they are counted in a row."""

    row: Row
    at: int

    def add(self, tally: Tally) -> None:
        """Count answers."""
        counts = self.row.counts
        for digit, count in tally.digits:
            counts[self.at + digit] += count
        for bucket, count in tally.confidences:
            counts[self.at + CLASSES + bucket] += count
        self.row.sums[self.at + CLASSES + len(CONFIDENCES) + 1] += tally.sum


class Row:
    """The counts of one worker. Only that worker may change them."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        whole = memoryview(memory)[8 * _ROW * number : 8 * _ROW * (number + 1)]
        self.bytes, self.counts, self.sums = whole, whole.cast("q"), whole.cast("d")

    def start(self) -> None:
        """Count a start; what was in flight in the worker before is not any more."""
        self.counts[_STARTS] += 1
        self.counts[_IN_FLIGHT] = 0

    def stop(self) -> None:
        """Forget what was in flight, for a worker that has ended."""
        self.counts[_IN_FLIGHT] = 0

    def begun(self) -> None:
        """Count a request that is in flight from now on."""
        self.counts[_IN_FLIGHT] += 1

    def ended(self, path: str, status: int, seconds: float) -> None:
        """Count a request's end."""
        counts, at = self.counts, _PATH[path]
        counts[_IN_FLIGHT] -= 1
        counts[_REQUESTS + at * len(CODES) + _CODE.get(status, _CODE[500])] += 1
        at = _LATENCY + at * _BUCKETS
        counts[at + bisect_left(SECONDS, seconds)] += 1
        self.sums[at + len(SECONDS) + 1] += seconds

    def shed(self) -> None:
        """Count a connection that was refused because there are too many."""
        self.counts[_SHED] += 1

    def unlogged(self, lines: int) -> None:
        """Count lines of the log that were dropped."""
        self.counts[_UNLOGGED] += lines

    def keep(self, models: Iterable[tuple[str, str]]) -> None:
        """Make room for models, given by name and version: if there is too little, the counts of others, which were served before, are forgotten."""
        wanted = {(_cut(name), _cut(version)) for name, version in models}
        places = [8 * (_MODEL + number * _MODEL_SIZE) for number in range(MODELS)]
        there = [tuple(bytes(self.bytes[at + i : at + i + NAME]).rstrip(b"\0") for i in (0, NAME)) for at in places]
        if len(wanted.difference(there)) <= there.count((b"", b"")):
            return
        kept = [bytes(self.bytes[at : at + 8 * _MODEL_SIZE]) for at, labels in zip(places, there, strict=True) if labels in wanted]
        self.bytes[places[0] : places[0] + 8 * MODELS * _MODEL_SIZE] = b"".join(kept).ljust(8 * MODELS * _MODEL_SIZE, b"\0")

    def model(self, name: str, version: str, classes: Sequence[str]) -> Counts | None:
        """Return where to count the answers of a model; None if there is no room for it."""
        if len(classes) > CLASSES:
            return None
        labels = [_cut(name), _cut(version), *(_cut(one) for one in classes)]
        wanted = b"".join(one.ljust(NAME, b"\0") for one in labels).ljust(8 * _LABELS, b"\0")
        for number in range(MODELS):
            at = _MODEL + number * _MODEL_SIZE
            place = self.bytes[8 * at : 8 * (at + _LABELS)]
            if bytes(place[:NAME]) == bytes(NAME):
                place[:] = wanted
            if bytes(place) == wanted:
                return Counts(self, at + _LABELS)
        return None

    def models(self) -> Iterator[tuple[tuple[str, str], list[str], list[int], list[int], float]]:
        """Yield each model's name and version, classes, answers by class, and confidences by bucket with their sum."""
        for number in range(MODELS):
            at = _MODEL + number * _MODEL_SIZE
            labels = bytes(self.bytes[8 * at : 8 * (at + _LABELS)])
            words = [labels[i : i + NAME].rstrip(b"\0").decode("utf-8", "replace") for i in range(0, len(labels), NAME)]
            if not words[0]:
                return
            counts = list(self.counts[at + _LABELS : at + _MODEL_SIZE])
            classes = [word for word in words[2:] if word]
            last = self.sums[at + _MODEL_SIZE - 1]
            yield (words[0], words[1]), classes, counts[: len(classes)], counts[CLASSES:-1], last


def _cut(name: str) -> bytes:
    """Return a name's bytes, cut so that they are still UTF-8, and never empty."""
    return (name or "?").encode("utf-8", "replace")[:NAME].decode("utf-8", "ignore").replace("\0", "?").encode()


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    yield from _head("mnist_edge_in_flight", "gauge", "Requests that are being received or answered.")
    yield f"mnist_edge_in_flight {sum(row.counts[_IN_FLIGHT] for row in rows)}\n"
    yield from _head("mnist_edge_worker_starts_total", "counter", "Workers started, including restarts.")
    yield f"mnist_edge_worker_starts_total {sum(row.counts[_STARTS] for row in rows)}\n"
    yield from _head("mnist_edge_connections_refused_total", "counter", "Connections refused because there were too many.")
    yield f"mnist_edge_connections_refused_total {sum(row.counts[_SHED] for row in rows)}\n"
    yield from _head("mnist_edge_log_lines_dropped_total", "counter", "Log lines dropped because the log's reader was too slow.")
    yield f"mnist_edge_log_lines_dropped_total {sum(row.counts[_UNLOGGED] for row in rows)}\n"
    yield from _head("mnist_edge_requests_total", "counter", "Requests by kind of path and status code.")
    for p, path in enumerate(PATHS):
        for c, code in enumerate(CODES):
            if many := sum(row.counts[_REQUESTS + p * len(CODES) + c] for row in rows):
                yield f'mnist_edge_requests_total{{path="{path}",code="{code}"}} {many}\n'
    yield from _head("mnist_edge_request_seconds", "histogram", "Seconds from a request's headers to the end of its answer.")
    for p, path in enumerate(PATHS):
        at = _LATENCY + p * _BUCKETS
        counts = [sum(row.counts[at + i] for row in rows) for i in range(len(SECONDS) + 1)]
        total = sum(row.sums[at + len(SECONDS) + 1] for row in rows)
        yield from _histogram("mnist_edge_request_seconds", f'path="{path}"', SECONDS, counts, total)
    yield from _answers(rows)


def _answers(rows: Sequence[Row]) -> Iterator[str]:
    digits: dict[tuple[str, str, str], int] = {}
    confidences: dict[tuple[str, str], tuple[list[int], float]] = {}
    for row in rows:
        for key, classes, answers, buckets, total in row.models():
            for name, count in zip(classes, answers, strict=True):
                digits[*key, name] = digits.get((*key, name), 0) + count
            before, sum_before = confidences.get(key, ([0] * len(buckets), 0.0))
            confidences[key] = [a + b for a, b in zip(before, buckets, strict=True)], sum_before + total
    yield from _head("mnist_edge_answers_total", "counter", "Answers by model, version and digit; a batch counts each image.")
    for (name, version, digit), count in digits.items():
        yield f"mnist_edge_answers_total{{{_labels(model=name, version=version, digit=digit)}}} {count}\n"
    yield from _head("mnist_edge_confidence", "histogram", "The answers' confidence, 0 to 1.")
    for (name, version), (counts, total) in confidences.items():
        yield from _histogram("mnist_edge_confidence", _labels(model=name, version=version), CONFIDENCES, counts, total)


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _histogram(name: str, labels: str, ends: Iterable[float], counts: Sequence[int], total: float) -> Iterator[str]:
    if not any(counts):
        return
    below = 0
    for end, count in zip([*ends, "+Inf"], counts, strict=True):
        below += count
        yield f'{name}_bucket{{{labels},le="{end}"}} {below}\n'
    yield f"{name}_sum{{{labels}}} {total}\n{name}_count{{{labels}}} {below}\n"


def _labels(**labels: str) -> str:
    """Return labels with their values escaped as the text format asks."""
    return ",".join(
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels.items()
    )
