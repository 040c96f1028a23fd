"""Lists, removes or puts back what training runs and exports leave in a models folder."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mnist_edge.common.errors import ModelError, TrainingError, unknown_name
from mnist_edge.common.files import unused
from mnist_edge.common.locks import is_locked, locked
from mnist_edge.common.text import data_name, percent
from mnist_edge.store.manifest import FILE_NAME, Manifest
from mnist_edge.store.publishing import FAILED, REPLACED, RUNS, publish_model, run_lock

#: What can be left behind.
KINDS = ("replaced", "failed", "runs", "parts")

_DATED = re.compile(r"\.?(?P<name>.+)-(?P<when>\d{8}-\d{6})(?:-|\.old)*")
_PART = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.part")

#: A program may still be writing to a part that is younger than this, because nothing says whose it is; no export or download takes a day.
PART_SECONDS = 24 * 3600

#: Evidence is written within seconds.
_EVIDENCE_SECONDS = 60


class Leftover(NamedTuple):
    """One thing that a training run or an export left behind.

    Attributes:
        kind: one of `KINDS`.
        name: the model's, or of a refused export ``MODEL-FILE``.
        path: a folder; a part may be a file.
        bytes: of all that is in it.
        seconds: its age: since it was replaced, refused or set aside, else since it was last written to.
        what: what it is, in words.
        in_use: why it must stay; empty where it may be removed.
    """

    kind: str
    name: str
    path: Path
    bytes: int
    seconds: float
    what: str
    in_use: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return self._asdict() | {"path": str(self.path)}


class Restored(NamedTuple):
    """What was put back, where it is now, and where the model or run that it replaced is kept (None if it replaced none)."""

    what: Leftover
    place: Path
    kept: Path | None


def leftovers(models_dir: Path) -> list[Leftover]:
    """Return all that training runs and exports left in a models folder, by kind and then the newest first. Raises ModelError, OSError."""
    check_models_dir(models_dir)
    found = [*_replaced(models_dir), *_failed(models_dir), *_runs(models_dir), *_parts(models_dir)]
    return sorted(found, key=lambda one: (KINDS.index(one.kind), one.seconds))


def total_bytes(found: Iterable[Leftover]) -> int:
    """Return their total size in bytes; a part inside a run is counted once."""
    found = list(found)
    return sum(one.bytes for one in found if not any(one.path.is_relative_to(other.path) for other in found if other is not one))


def remove(models_dir: Path, leftover: Leftover) -> bool:
    """Remove one for good; False if it is in use or gone by now. Raises OSError.

    It is renamed first, so that a program killed on the way leaves a part and not half a model.
    """
    with ExitStack() as stack:
        if leftover.kind == "parts":
            if leftover.in_use or not os.path.lexists(leftover.path):  # it may have been in a run that was removed since
                return False
            doomed = leftover.path
        else:
            lock = run_lock(models_dir, leftover.name) if leftover.kind == "runs" else locked(models_dir, wait=True)
            if not stack.enter_context(lock) or leftover.in_use:
                return False
            doomed = leftover.path.with_name(f".{leftover.path.name.lstrip('.')}.{os.urandom(4).hex()}.part")
            try:
                os.rename(leftover.path, doomed)
            except FileNotFoundError:
                return False
    if doomed.is_dir() and not doomed.is_symlink():
        shutil.rmtree(doomed)
    else:
        doomed.unlink(missing_ok=True)
    with suppress(OSError):  # other things may lie beside it
        if doomed.parent != models_dir and doomed.parent.name in (REPLACED, FAILED):
            doomed.parent.rmdir()
    return True


def restorable(models_dir: Path) -> list[Leftover]:
    """Return what `restore` can put back: replaced models and runs that were set aside, the newest first. Raises ModelError, OSError."""
    check_models_dir(models_dir)
    return [*_newest_first(_replaced(models_dir)), *_newest_first(_set_aside(models_dir))]


def restore(models_dir: Path, which: str) -> Restored:
    """Put a replaced model, or a run that was set aside, back in its place; what is there now is kept as the other was.

    `which` is a model's name, for the one that was replaced last, or, where none was, the run that was set aside last. A folder's
    name, such as ``lenet-20260131-120000``, or its path means that one.
    Raises UnknownNameError, ModelError for a damaged model, TrainingError where the run is being trained, OSError.
    """
    one = _choose(models_dir, which)
    if one.kind == "replaced":
        Manifest.read(one.path)
        target = models_dir / one.name
        return Restored(one, target, publish_model(one.path, target))
    target = models_dir / RUNS / one.name
    with run_lock(models_dir, one.name) as free:
        if not free:
            raise TrainingError(f"{one.name} is being trained by another program; restore the run {one.path.name} when that has ended")
        kept = None
        if target.exists():
            kept = unused(target.with_name(f".{one.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
            os.rename(target, kept)
        try:
            os.rename(one.path, target)
        except OSError:
            if kept is not None:
                os.rename(kept, target)
            raise
    return Restored(one, target, kept)


def resume_command(run: Path, name: str, models_dir: Path | None = None) -> str:
    """Return the command that continues an unfinished run, except for the path of a data folder, which a run does not record."""
    import shlex

    settings = _settings(run)
    data = settings["data"] if isinstance(settings.get("data"), dict) else {}
    words = ["mnist-edge", "train", str(settings.get("architecture", name)), "--resume"]
    if words[2] != name:
        words += ["--name", name]
    if data.get("name", "mnist") != "mnist":
        words += ["--data", str(data["name"]).removeprefix("folder:")]
    fewer = data.get("name") in ("mnist", "drawn") and data.get("images", 60_000) < 60_000
    if train_images := settings.get("train_images", data["images"] if fewer else None):
        words += ["--train-images", str(train_images)]
    if models_dir is not None:
        words += ["--models-dir", str(models_dir)]
    return shlex.join(words)


def _choose(models_dir: Path, which: str) -> Leftover:
    there = restorable(models_dir)
    named = [one for one in there if which == one.path.name or Path(which).resolve() == one.path.resolve()]
    found = named or [one for one in there if which == one.name]
    if not found:
        raise unknown_name(f"model to restore in {models_dir}:", which, {one.name for one in there} | {one.path.name for one in there})
    return found[0]


def _replaced(models_dir: Path) -> Iterator[Leftover]:
    for path, name, seconds in _dated(models_dir / REPLACED):
        yield Leftover("replaced", name, path, _size(path), seconds, _describe_model(path))


def _failed(models_dir: Path) -> Iterator[Leftover]:
    for path, name, seconds in _dated(models_dir / FAILED):
        in_use = "may still be written: it is younger than a minute" if _idle_seconds(path) < _EVIDENCE_SECONDS else ""
        yield Leftover("failed", name, path, _size(path), seconds, _describe_refusal(path), in_use)


def _set_aside(models_dir: Path) -> Iterator[Leftover]:
    for path, name, seconds in _dated(models_dir / RUNS):
        if path.name.startswith("."):
            yield Leftover("runs", name, path, _size(path), seconds, f"{_describe_run(path)}, set aside by a new run")


def _runs(models_dir: Path) -> Iterator[Leftover]:
    yield from _set_aside(models_dir)
    runs = models_dir / RUNS
    for path in _entries(runs):
        if path.is_dir() and not path.name.startswith("."):
            in_use = "is being trained" if _is_trained(runs, path.name) else ""
            yield Leftover(
                "runs", path.name, path, _size(path), _idle_seconds(path), f"{_describe_run(path)}; --resume continues it", in_use
            )


def _parts(models_dir: Path) -> Iterator[Leftover]:
    """Yield what a killed program left half written: in the models folder, in its models, and in the folders of leftovers."""
    places = [models_dir, *(models_dir / folder for folder in (REPLACED, FAILED, RUNS))]
    places += [path for path in _entries(models_dir) if (path / FILE_NAME).is_file()]
    places += [path for path in _entries(models_dir / RUNS) if path.is_dir()]
    for path in (path for place in places for path in _entries(place)):
        if found := _PART.fullmatch(path.name):
            seconds = _idle_seconds(path)
            in_use = "may still be written: it is younger than a day" if seconds < PART_SECONDS else ""
            yield Leftover("parts", found["name"], path, _size(path), seconds, "half written by a program that was killed", in_use)


def _dated(folder: Path) -> Iterator[tuple[Path, str, float]]:
    """Yield the folders whose names end in a date, with the name before it and the seconds since then."""
    for path in _entries(folder):
        found = _DATED.fullmatch(path.name)
        if found and (path.is_dir() or path.is_symlink()):
            with suppress(ValueError, OverflowError):  # digits that are not a date
                then = time.mktime(time.strptime(found["when"], "%Y%m%d-%H%M%S"))
                yield path, found["name"], max(0.0, time.time() - then)


def check_models_dir(folder: Path) -> None:
    """Raise ModelError for a models folder that exists but is not a folder."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise ModelError(f"{folder}: not a folder; --models-dir names another")


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _newest_first(found: Iterator[Leftover]) -> list[Leftover]:
    return sorted(found, key=lambda one: one.seconds)


def _is_trained(runs: Path, name: str) -> bool:
    return is_locked(runs / f".{name}.lock") or is_locked(runs / name)  # the folder is what version 0.1 locks


def _measure(path: Path, of: Callable[[os.stat_result], float]) -> list[float]:
    """Return a figure of a file, or of a folder and all that is in it; links are not followed, what vanishes is left out."""
    figures = []
    paths = [path]
    if path.is_dir() and not path.is_symlink():
        paths += [
            Path(root, name) for root, folders, files in os.walk(path) for name in (*folders, *files)
        ]  # which passes over what vanishes
    for one in paths:
        with suppress(FileNotFoundError):
            figures.append(of(one.lstat()))
    return figures


def _size(path: Path) -> int:
    return int(sum(_measure(path, lambda status: status.st_size)))


def _idle_seconds(path: Path) -> float:
    """Return the seconds since anything in it was written to."""
    return max(0.0, time.time() - max(_measure(path, lambda status: status.st_mtime), default=0.0))


def _describe_model(folder: Path) -> str:
    try:
        manifest = Manifest.read(folder)
        scores = manifest.scores
        return f"{manifest.architecture}, {percent(scores['test_accuracy'])} on {data_name(scores['test_data']['name'])}"
    except (ModelError, KeyError, TypeError, ValueError):
        return "not readable"


def _describe_refusal(folder: Path) -> str:
    failures = _json(folder / "report.json").get("failures")
    return f"refused: {failures[0]}" if isinstance(failures, list) and failures else "refused"


def _describe_run(folder: Path) -> str:
    settings = _settings(folder)
    data = settings["data"].get("name") if isinstance(settings.get("data"), dict) else None
    if not isinstance(settings.get("architecture"), str) or not isinstance(data, str):
        return "unfinished training, not readable"
    return f"unfinished training of {settings['architecture']} on {data_name(data)}"


def _settings(run: Path) -> dict[str, Any]:
    return _json(run / "run.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
