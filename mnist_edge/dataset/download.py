"""MNIST from the network; torchvision says where it is, and the MD5 of each file."""

import gzip
import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from mnist_edge.common.errors import DataError
from mnist_edge.common.extras import require
from mnist_edge.common.files import folder_aside
from mnist_edge.dataset import idx
from mnist_edge.dataset.sources import DATA_DIR, OTHER_DATA, find_mnist

#: Seconds in which a mirror has to answer at all, and in which the next bytes of a download have to come.
ANSWER_SECONDS, STALL_SECONDS = 8.0, 10.0

#: An address of MNIST's four ``.gz`` files that is asked before torchvision's own.
MIRROR_VARIABLE = "MNIST_EDGE_MIRROR"


#: The exceptions of a broken download, in addition to the errors of the disk.
_FAILURES = (RuntimeError, urllib.error.URLError, http.client.HTTPException, ConnectionError, EOFError, TimeoutError)


def ensure_mnist(data_dir: Path | None = None, mirror: str | None = None) -> Path:
    """Return the folder with MNIST's files, downloading them first if they are not on this machine.

    Those that are missing go to `data_dir`, else where `find_mnist` looks, once all four were fetched and read. Raises DataError,
    in one line that says where it looked, why the download failed and what else can be done; MissingExtraError without
    torchvision.
    """
    found = find_mnist(data_dir)
    if found.raw_dir is not None and found.complete:
        return found.raw_dir
    missing = found.missing()
    if not found.looked_in:
        raise DataError(f"{missing}, so there is nowhere to download it to; you can: {DATA_DIR} · {OTHER_DATA}")
    require(f"{missing}; downloading it", "torchvision")
    from torchvision.datasets import MNIST

    given = mirror or os.environ.get(MIRROR_VARIABLE)
    mirrors = [given if given.endswith("/") else given + "/"] if given else []
    mirrors += MNIST.mirrors
    answering, reasons = _answering(mirrors, f"{idx.FILES['test'][1]}.gz")
    if not answering:
        raise DataError(f"{missing} and cannot be downloaded: {'; '.join(reasons)}; you can: {DATA_DIR} · {OTHER_DATA}")
    try:
        return _download(answering, found.looked_in[0], found.raw_dir)
    except _FAILURES as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{missing} and the download from {answering[0]} failed: {reason}; you can: {DATA_DIR} · {OTHER_DATA}") from error
    except OSError as error:
        raise DataError(f"{missing} and cannot be saved there: {error.strerror or error}; you can: {DATA_DIR} · {OTHER_DATA}") from error


def _download(mirrors: Sequence[str], root: Path, raw_dir: Path | None) -> Path:
    from torchvision.datasets import MNIST

    target = raw_dir or root / "MNIST" / "raw"
    root.mkdir(parents=True, exist_ok=True)
    with folder_aside(root, "download") as aside:
        for file, md5 in MNIST.resources:
            (aside / file.removesuffix(".gz")).write_bytes(gzip.decompress(_fetch(file, md5, mirrors)))
        for split in idx.FILES:
            idx.load_mnist(aside, split)
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(aside.iterdir()):
            if not idx.locate(target, path.name):
                path.rename(target / path.name)
    return target


def _fetch(file: str, md5: str, mirrors: Sequence[str]) -> bytes:
    """Return a file of a few megabytes from the first mirror that gives all of it. Raises what went wrong with the last one.

    torchvision's own download has no time limit except one for the whole process, and it prints.
    """
    failure: Exception = RuntimeError("no mirror")
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + file, timeout=STALL_SECONDS) as answer:
                content: bytes = answer.read()
        except _FAILURES as error:
            failure = error
        else:
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
                return content
            failure = RuntimeError(f"{mirror}{file} is damaged: its MD5 is wrong")
    raise failure


def _answering(mirrors: Sequence[str], file: str) -> tuple[list[str], list[str]]:
    """Return the mirrors that have `file`, in order, and a reason for each of the others.

    All are asked at once, in threads that are left behind if they hang, as looking up a name can.
    """
    results: dict[str, str | None] = {}

    def ask(mirror: str) -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(mirror + file, method="HEAD"), timeout=ANSWER_SECONDS - 1):
                results[mirror] = None
        except (*_FAILURES, OSError, ValueError) as error:
            results[mirror] = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__

    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + ANSWER_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    answers = {mirror: results.get(mirror, f"no answer in {ANSWER_SECONDS:.0f} seconds") for mirror in mirrors}
    return [m for m in mirrors if answers[m] is None], [f"{m}: {reason}" for m, reason in answers.items() if reason]
