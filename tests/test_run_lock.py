"""Two trainings of one name at once, in every order of their steps.

Each program runs in a thread and is stopped before any of its steps in the file system, as Python's audit events tell them. Locks belong
to an open file, not to a process, so that two threads meet as two programs do.
"""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import settings_for

from mnist_edge.common import files, locks
from mnist_edge.common.errors import TrainingError
from mnist_edge.common.files import write_atomically
from mnist_edge.common.locks import lock_file
from mnist_edge.dataset import Dataset
from mnist_edge.store import publishing
from mnist_edge.store.publishing import RUNS
from mnist_edge.training.run import Run
from mnist_edge.training.settings import Settings

#: Steps in the file system, by the name of their audit event.
STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock", "shutil.rmtree"}

_here = threading.local()


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    program = getattr(_here, "program", None)
    if program is not None and event in STEPS:
        program.before_a_step()


sys.addaudithook(_hear)  # for good, but it hears nothing where no program is running


class Program:
    """A function in a thread of its own, which goes on for so many steps at a time."""

    def __init__(self, body: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self.done = False
        self._steps, self._go, self._stopped = 0, threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(body,), daemon=True)
        self._thread.start()

    def _run(self, body: Callable[[], None]) -> None:
        self._go.acquire()
        _here.program = self
        try:
            body()
        except TrainingError as error:
            self.error = error
        except BaseException as error:
            self.error = error
        _here.program = None
        self.done = True
        self._stopped.release()

    def before_a_step(self) -> None:
        if self._steps == 0:
            self._stopped.release()
            self._go.acquire()
        self._steps -= 1

    def go(self, steps: int = 1_000_000) -> None:
        """Go on for so many steps, and stop before the next."""
        if not self.done:
            self._steps = steps
            self._go.release()
            assert self._stopped.acquire(timeout=20), "a program waits for ever"


def training(models: Path, settings: Settings, inside: set[int], ends: bool) -> Callable[[], None]:
    """A training without the computing: settings and two checkpoints; it ends, or stops and leaves its run."""

    def body() -> None:
        with Run(models, "lenet") as run:
            assert not inside, "two trainings at once"
            inside.add(settings.seed)
            run.start(settings)
            for _ in range(2):
                write_atomically(run.folder / "checkpoint.pt", str(settings.seed).encode())
            found = run.read_settings()
            assert found is not None
            assert found.seed == int((run.folder / "checkpoint.pt").read_text()) == settings.seed, "another training's run"
            if ends:
                run.remove()
            inside.discard(settings.seed)

    return body


def steps_of(models: Path, settings: Settings, ends: bool) -> int:
    """Return how many steps a training has that nobody disturbs."""
    program, count = Program(training(models, settings, set(), ends)), 0
    while not program.done:
        program.go(1)
        count += 1
    assert program.error is None
    return count


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is not asked to finish, and a lock is asked for once: both take long, no power is cut here, and nobody lists the runs."""
    monkeypatch.setattr(files, "flush", lambda path: None)
    monkeypatch.setattr(publishing, "PATIENCE", (1, 0.0))


def every_order(tmp_path: Path, drawn_train: Dataset, ends: bool) -> tuple[int, int]:
    """The first stops before each of its steps, the second before each of its own; the first ends; a third stops; the second ends."""
    settings = [settings_for(drawn_train, seed=seed) for seed in (1, 2, 3)]
    count = steps_of(tmp_path / "alone", settings[0], ends)
    assert count > 10
    orders = refused = 0
    for stop in range(count):
        for second_stop in range(0, count, 3):
            models, inside = tmp_path / f"{stop}-{second_stop}", set[int]()
            first, second, third = (Program(training(models, one, inside, ends)) for one in settings)
            first.go(stop)
            second.go(second_stop)
            first.go()
            third.go(stop)
            second.go()
            third.go()
            for program in (first, second, third):
                if program.error is not None:
                    assert isinstance(program.error, TrainingError), (stop, second_stop, program.error)
                    assert "being trained by another program" in str(program.error)
                    refused += 1
            assert not (first.error and second.error and third.error)
            run = models / RUNS / "lenet"
            if not ends:
                seed = json.loads((run / "run.json").read_text())["seed"]
                assert (run / "checkpoint.pt").read_text() == str(seed)
            assert not (models / RUNS / ".lenet.lock").exists()
            assert ends != (models / RUNS).exists()
            orders += 1
    return orders, refused


@pytest.mark.parametrize("ends", [True, pytest.param(False, marks=pytest.mark.proof)])
@pytest.mark.slow
def test_two_trainings_of_one_name_never_meet(tmp_path: Path, drawn_train: Dataset, ends: bool) -> None:
    orders, refused = every_order(tmp_path, drawn_train, ends)
    assert orders > 100
    assert 0 < refused < 2 * orders


def test_the_orders_find_a_lock_that_is_not_sound(tmp_path: Path, drawn_train: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look at the file behind the name, who opened it before it was removed locks what nobody else sees."""
    monkeypatch.setattr(locks, "_is_open_at", lambda descriptor, path: True)
    with pytest.raises(AssertionError):
        every_order(tmp_path, drawn_train, ends=True)


def test_a_lock_is_one_programs_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".x.lock"
    with lock_file(path) as first, lock_file(path) as second:
        assert (first, second) == (True, False)
    assert not path.parent.exists()
    with lock_file(path) as third:
        assert third


def test_a_training_waits_for_who_only_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lists the runs takes each lock for a moment; a training was refused for that."""
    monkeypatch.setattr(publishing, "PATIENCE", (100, 0.01))
    begun = threading.Event()

    def look() -> None:
        with lock_file(tmp_path / RUNS / ".lenet.lock"):
            begun.set()
            threading.Event().wait(0.05)

    looker = threading.Thread(target=look)
    looker.start()
    begun.wait()
    with Run(tmp_path, "lenet"):
        pass
    looker.join()
