"""A scheduler: two commands in two threads, of which one is stopped at a chosen write and goes on when the other is done or waits for it.

Writes are seen by an audit hook, so every module's are, whatever it calls: files opened for writing, renamed, removed, folders made, locks.
"""

import fcntl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WRITES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate"}

_now: "Turns | None" = None
_hooked = False


class Turns:
    """Run `first` up to its write number `stop_at`, then `second`, then the rest of `first`.

    Attributes:
        writes: how many writes `first` came to.
        outcomes: what each returned, or the exception that it raised.
    """

    def __init__(self, folder: Path, stop_at: int) -> None:
        self.folder, self.stop_at, self.writes = str(folder.resolve()), stop_at, 0
        self.outcomes: list[Any] = [None, None]
        self._stopped, self._go_on, self._waits = threading.Event(), threading.Event(), threading.Event()
        self._names: dict[int, int] = {}

    def run(self, first: Callable[[], Any], second: Callable[[], Any]) -> "Turns":
        global _now, _hooked
        if not _hooked:
            sys.addaudithook(_hook)
            _hooked = True
        one, other = (threading.Thread(target=self._call, args=(number, call), daemon=True) for number, call in enumerate((first, second)))
        _now = self
        try:
            one.start()
            assert self._stopped.wait(60)
            other.start()
            assert self._waits.wait(60)
            self._go_on.set()
            for thread in (one, other):
                thread.join(60)
                assert not thread.is_alive(), "the two wait for each other"
        finally:
            _now = None
            self._go_on.set()
        return self

    def _call(self, number: int, call: Callable[[], Any]) -> None:
        self._names[threading.get_ident()] = number
        try:
            self.outcomes[number] = call()
        except BaseException as error:
            self.outcomes[number] = error
        finally:
            (self._stopped, self._waits)[number].set()

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        number = self._names.get(threading.get_ident())
        if number is None:
            return
        if event == "fcntl.flock":
            self._see_lock(number, *arguments)
        if number == 0 and (event == "fcntl.flock" or self._is_write(event, arguments)):
            self.writes += 1
            if self.writes == self.stop_at:
                self._stopped.set()
                assert self._go_on.wait(60)

    def _see_lock(self, number: int, descriptor: int, operation: int) -> None:
        """Where a lock is held by the one that was stopped, let that one go on."""
        if number == 1 and operation & fcntl.LOCK_EX and not operation & fcntl.LOCK_NB:
            names, self._names = self._names, {}
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._waits.set()
            finally:
                self._names = names

    def _is_write(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            return bool(flags & 3) and isinstance(path, str) and self._is_here(path)
        return event in _WRITES and any(isinstance(one, str) and self._is_here(one) for one in map(_plain, arguments))

    def _is_here(self, path: str) -> bool:
        return path.startswith(self.folder)


def _plain(path: Any) -> Any:
    return str(path) if isinstance(path, Path) else path


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _now is not None and (event in _WRITES or event in ("open", "fcntl.flock")):
        _now.see(event, arguments)
