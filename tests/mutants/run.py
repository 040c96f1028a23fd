"""Break the code that proves, one thing at a time, and see whether the fast tests notice.

Every mutant is tried in a copy of the tree outside of the checkout, in a process of its own that is forked from one in which the libraries
are loaded. It meets the tests that run the line that is changed, the quickest first.

    make mutants                                    all of them: hours
    make mutants ONLY=store SAMPLE=20               of each module of a room 20, drawn by a fixed seed
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import child
import mutations
from mutations import Mutant

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "mutants"
SURVIVORS = Path(__file__).with_name("survivors.md")

#: The share of mutants that the tests have to notice.
_LEAST = 0.9

#: So many seconds of tests, as they were measured, are tried on one mutant.
_ENOUGH = 15.0


class Slot(NamedTuple):
    """A copy of the tree, and where its processes write."""

    tree: Path
    temporary: Path
    log: Path
    result: Path


class Outcome(NamedTuple):
    """What became of a mutant: ``killed``, ``slow`` (it ran into the limit of time), ``survived`` or ``unreached`` (no test runs it)."""

    mutant: Mutant
    what: str
    by: str


def files_of_tree() -> list[str]:
    """Return what git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    return [name for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0") if name]


def make_slot(work: Path, name: str) -> Slot:
    """Copy the tree and compile it; git knows the copy, so that it can be put back as it was."""
    slot = Slot(work / name / "tree", work / name / "tmp", work / name / "log", work / name / "result")
    slot.temporary.mkdir(parents=True)
    for file in files_of_tree():
        if (ROOT / file).is_file():
            (slot.tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, slot.tree / file)
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "-m", "as it is"]):
        subprocess.run(["git", *words], cwd=slot.tree, check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "mnist_edge", "exporters", "benchmarks"], cwd=slot.tree, check=True)
    return slot


def put_back(slot: Slot) -> bool:
    """Put a copy back as it was, and say whether anything but what was compiled had changed."""
    status = subprocess.run(["git", "status", "--porcelain", "--ignored"], cwd=slot.tree, capture_output=True, text=True, check=True).stdout
    changed = any("__pycache__" not in line for line in status.splitlines())
    if changed:
        subprocess.run(["git", "checkout", "-q", "-f", "."], cwd=slot.tree, check=True)
        subprocess.run(["git", "clean", "-qfdx", "-e", "__pycache__"], cwd=slot.tree, check=True)
    shutil.rmtree(slot.temporary, ignore_errors=True)
    slot.temporary.mkdir(exist_ok=True)
    return changed


def fork(slot: Slot, shared: Path, run: Callable[[], int]) -> int:
    """Run something in a process of its own that works in a slot. Returns its id."""
    sys.stdout.flush()
    slot.result.unlink(missing_ok=True)
    pid = os.fork()
    if pid:
        return pid
    status = 99
    try:
        child.enter(slot.tree, shared, slot.temporary, slot.log)
        status = run()
    finally:
        sys.stdout.flush()
        os._exit(status)


def end(pid: int) -> None:
    """End a process and all that it started, which is in its session."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def wait_for_one(running: dict[int, float]) -> tuple[int, int | None]:
    """Wait until one of the processes ends or passes its limit. Returns its id and its status, None past the limit."""
    while True:
        for pid, limit in running.items():
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                end(pid)
                return pid, os.waitstatus_to_exitcode(status)
            if time.monotonic() > limit:
                end(pid)
                os.waitpid(pid, 0)
                return pid, None
        time.sleep(0.02)


def hash_of(files: list[str]) -> str:
    """Return a hash over files of the tree."""
    found = hashlib.sha256()
    for file in files:
        found.update(file.encode() + b"\0" + (ROOT / file).read_bytes())
    return found.hexdigest()[:16]


class Knowledge:
    """What the tests of the unchanged tree run, kept in build/ from one time to the next."""

    def __init__(self, modules: list[str]) -> None:
        self.modules = modules
        self.shared = BUILD / "shared"
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[int, list[str]]] = {module: {} for module in modules}
        self.failed: list[str] = []

    def gather(self, slots: list[Slot], only_tests: str) -> None:
        """Run every test file that is new or whose sources changed."""
        sources = hash_of([file for file in files_of_tree() if file.startswith(("mnist_edge/", "exporters/")) and file.endswith(".py")])
        helpers = hash_of(["tests/conftest.py"])
        stamp = BUILD / "shared.of"
        if not stamp.exists() or stamp.read_text() != sources + helpers:
            shutil.rmtree(BUILD, ignore_errors=True)
        self.shared.mkdir(parents=True, exist_ok=True)
        stamp.write_text(sources + helpers)
        waiting = [
            name for name in files_of_tree() if name.startswith("tests/") and Path(name).name.startswith("test_") and only_tests in name
        ]
        kept = {name: BUILD / f"{name.replace('/', '-')}.{hash_of([name])}.json" for name in waiting}
        waiting = [name for name in waiting if not kept[name].exists()]
        free, running, about = list(slots), dict[int, float](), dict[int, tuple[Slot, str]]()
        while waiting or running:
            if waiting and free:
                slot, name = free.pop(), waiting.pop()
                pid = fork(slot, self.shared, lambda s=slot, n=name: child.run_watched(n, self.modules, s.tree, s.temporary, s.result))  # type: ignore[misc]
                running[pid], about[pid] = time.monotonic() + 1200, (slot, name)
                continue
            pid, status = wait_for_one(running)
            del running[pid]
            slot, name = about.pop(pid)
            if status is None or not slot.result.exists():
                print(f"{name}: ended with {status}; left out", flush=True)
                print(slot.log.read_text()[-2000:])
            else:
                shutil.copy(slot.result, kept[name])
                print(f"{name}: {len(waiting)} to go", flush=True)
            put_back(slot)
            free.append(slot)
        for file in kept.values():
            if file.exists():
                self._add(json.loads(file.read_text()))

    def _add(self, found: dict[str, dict[str, dict[str, list[str]]]]) -> None:
        self.seconds |= found["seconds"]  # type: ignore[arg-type]
        self.failed += found["failed"]
        for module, lines in found["lines"].items():
            if module in self.lines:
                for line, names in lines.items():
                    self.lines[module].setdefault(int(line), []).extend(names)

    def tests_for(self, mutant: Mutant) -> list[str]:
        """Return the tests to try, within `_ENOUGH` seconds."""
        first, last = mutant.lines
        lines = self.lines[mutant.module]
        covering = {name for line in range(first, last + 1) for name in lines.get(line, [])}
        if "" in covering or not covering:  # run when it is imported, or a line that coverage counts with another
            near = {name for line in range(first, first + 40) for name in lines.get(line, [])}
            covering |= near if covering else {name for line in range(first - 12, last + 12) for name in lines.get(line, [])}
            if "" in covering:
                covering |= {name for names in lines.values() for name in names}
        chosen, total, enough = [], 0.0, 4 * _ENOUGH if "" in covering else _ENOUGH  # of what an import runs nobody knows who reads it
        for name in sorted((name for name in covering if name in self.seconds), key=lambda name: self.seconds[name]):
            if (total := total + self.seconds[name]) > enough and chosen:
                break
            chosen.append(name)
        return chosen

    def limit(self, names: list[str]) -> float:
        """Return the seconds that a mutant may take."""
        return 60 + 5 * sum(self.seconds[name] for name in names)


def try_all(mutants: list[Mutant], known: Knowledge, slots: list[Slot], report: Callable[[Outcome], None]) -> None:
    """Try mutants, as many at once as there are slots."""
    waiting, free = list(reversed(mutants)), list(slots)
    running, about = dict[int, float](), dict[int, tuple[Slot, Mutant]]()
    while waiting or running:
        if waiting and free:
            mutant = waiting.pop()
            names = known.tests_for(mutant)
            if not names:
                report(Outcome(mutant, "unreached", ""))
                continue
            slot = free.pop()
            path = slot.tree / mutant.module
            path.write_text(mutant.code, "utf-8")
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                compiled.unlink()
            shared = slot.temporary / "shared"
            shutil.copytree(known.shared, shared)
            pid = fork(slot, shared, lambda s=slot, n=names: child.run_chosen(n, s.temporary, s.result))  # type: ignore[misc]
            running[pid], about[pid] = time.monotonic() + known.limit(names), (slot, mutant)
            continue
        pid, status = wait_for_one(running)
        del running[pid]
        slot, mutant = about.pop(pid)
        by = slot.result.read_text() if slot.result.exists() else ""
        report(Outcome(mutant, "slow" if status is None else "survived" if status in (0, 5) else "killed", by))
        put_back(slot)
        free.append(slot)


def explained() -> set[str]:
    """Return the survivors that survivors.md gives a reason for."""
    return (
        {line.removeprefix("- ") for line in SURVIVORS.read_text("utf-8").splitlines() if line.startswith("- ")}
        if SURVIVORS.exists()
        else set()
    )


def main() -> int:
    """Return 0 if enough mutants were killed, and every survivor has a reason."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="a part of the module's path")
    parser.add_argument("--sample", type=int, help="so many mutants of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", default="", help="a part of the test file's path")
    parser.add_argument("--survivors-of", type=Path, help="try again what survived in this file, written by an earlier run")
    arguments = parser.parse_args()
    began = time.monotonic()
    modules = mutations.modules(ROOT)
    before = {file: (ROOT / file).read_bytes() for file in files_of_tree() if file.startswith("models/")}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        slots = [make_slot(Path(folder), f"copy{number}") for number in range(arguments.jobs)]
        child.load_libraries()
        known = Knowledge(modules)
        known.gather(slots, arguments.tests)
        if known.failed:
            print("these fail or are skipped without a mutant, and are left out:", *sorted(known.failed), sep="\n  ")
        mutants: list[Mutant] = []
        for module in modules:
            if arguments.only in module:
                found = mutations.mutants(ROOT, module)
                few = random.Random(f"{arguments.seed} {module}").sample(found, min(arguments.sample or len(found), len(found)))
                mutants += sorted(few, key=found.index)
        if arguments.survivors_of:
            again = {line for line in arguments.survivors_of.read_text("utf-8").splitlines() if line}
            mutants = [mutant for mutant in mutants if any(str(mutant) in line for line in again)]
        outcomes: list[Outcome] = []

        def report(outcome: Outcome) -> None:
            outcomes.append(outcome)
            if outcome.what not in ("killed", "slow"):
                print(f"{outcome.what}: {outcome.mutant}  (line {outcome.mutant.lines[0]})", flush=True)
            if len(outcomes) % 50 == 0:
                print(f"{len(outcomes)} of {len(mutants)} after {(time.monotonic() - began) / 60:.0f} min", flush=True)
            with (BUILD / "outcomes.jsonl").open("a") as file:
                file.write(json.dumps([outcome.what, str(outcome.mutant), outcome.mutant.lines[0], outcome.by]) + "\n")

        try_all(mutants, known, slots, report)
    count: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        count.setdefault(outcome.mutant.module, Counter())[outcome.what] += 1
    print(f"\n{'module':40} {'mutants':>8} {'killed':>8} {'slow':>8} {'survived':>8} {'unreached':>9}")
    for module, one in [*count.items(), ("all", sum(count.values(), Counter()))]:
        print(f"{module:40} {one.total():8} {one['killed']:8} {one['slow']:8} {one['survived']:8} {one['unreached']:9}")
    survivors = [outcome for outcome in outcomes if outcome.what in ("survived", "unreached")]
    (BUILD / "survivors.txt").write_text("".join(f"{one.mutant}\n" for one in survivors), "utf-8")
    share = 1 - len(survivors) / max(1, len(outcomes))
    new = [str(one.mutant) for one in survivors if str(one.mutant) not in explained()]
    print(
        f"{100 * share:.1f} % noticed in {(time.monotonic() - began) / 60:.0f} minutes; {len(new)} survivors have no reason in {SURVIVORS.relative_to(ROOT)}"
    )
    changed = [file for file, content in before.items() if not (ROOT / file).exists() or (ROOT / file).read_bytes() != content]
    if changed:
        print("FAILED: the checkout's own models changed:", *changed)
    return int(share < _LEAST or bool(new) or bool(changed))


if __name__ == "__main__":
    sys.exit(main())
