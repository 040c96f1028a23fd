"""Ctrl-C ends every command with 130 and one line, whatever it is doing."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_edge.cli.interrupt import is_program
from mnist_edge.common import files
from mnist_edge.common.files import discard_asides, folder_aside, written_aside

#: Runs a command, and at every STEP-th thing that Python's audit hooks tell of (an import, an open file, a lock) forks a
#: process that gets SIGINT there and then. That one works in a folder of its own, COPY.
SWEEP = """
import json, os, signal, sys

step, copy, logs = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.argv = ["mnist-edge", *sys.argv[4:]]
signal.signal(signal.SIGINT, signal.default_int_handler)
count, started, busy, ended = 0, False, False, {}

def hook(event, arguments):
    global count, started, busy
    started = started or (event == "import" and arguments[0] == "mnist_edge.cli.interrupt")
    if busy or not started:
        return
    count += 1
    if count % step:
        return
    busy = True
    if (child := os.fork()) == 0:
        signal.alarm(60)
        os.chdir(copy)
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{logs}/{count}.{name}", os.O_CREAT | os.O_WRONLY), descriptor)
        os.kill(os.getpid(), signal.SIGINT)
        return
    ended[f"{count} {event} {str(arguments)[:60]}"] = count, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    open(f"{logs}/ended.json", "w").write(json.dumps(ended))
    busy = False

sys.addaudithook(hook)
from mnist_edge.cli import main
main()
"""


def sweep(tmp_path: Path, step: int, *arguments: str | Path) -> int:
    """Interrupt a command at many moments; return how many there were."""
    logs, copy = tmp_path / "logs", tmp_path / "copy"
    logs.mkdir()
    copy.mkdir()
    words = [sys.executable, "-c", SWEEP, str(step), str(copy), str(logs), *map(str, arguments)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    ended = json.loads((logs / "ended.json").read_text())
    for moment, (count, exit_code) in ended.items():
        out, err = (logs / f"{count}.out").read_text(), (logs / f"{count}.err").read_text()
        assert exit_code == 130, (moment, exit_code, out, err)
        assert err.splitlines()[-1] == "error: interrupted", (moment, err)
        assert "Traceback" not in err, (moment, err)
        assert "ignored" not in err, (moment, err)
        assert err.count("error") == 1, (moment, err)
        if "--json" in arguments:
            documents = [json.loads(line) for line in out.splitlines()]
            assert {"error": "interrupted", "exit_code": 130} in documents or len(documents) == 1, (moment, out)
            assert len(documents) == 1 or arguments[0] == "predict", (moment, out)
    return len(ended)


def test_listing_at_any_moment(tmp_path: Path) -> None:
    assert sweep(tmp_path, 5, "list", "--json") > 20


def test_predicting_at_any_moment(picture: Path, tmp_path: Path) -> None:
    assert sweep(tmp_path, 31, "predict", picture, "--json") > 20


@pytest.mark.slow
def test_importing_torch_at_any_moment(tmp_path: Path) -> None:
    assert sweep(tmp_path, 997, "architectures", "lenet") > 10


def test_a_background_job_whose_parent_ignores_ctrl_c_goes_on(tmp_path: Path) -> None:
    code = (
        "import os, signal; from mnist_edge.cli import main; os.kill(os.getpid(), signal.SIGINT); "
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN; main()"
    )
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    done = subprocess.run([sys.executable, "-c", code, "--version"], cwd=tmp_path, capture_output=True, check=False, **ignore)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr


def run_code(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    begun = (
        "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nfrom mnist_edge.cli import cli, main\n"
        "import click\nJSON = click.Option(['--json'], is_flag=True, expose_value=False)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", f"{begun}{code}\nmain()", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    "code",
    [
        "os.kill(os.getpid(), signal.SIGINT)",  # between the imports and main()
        "class Dies:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT)\n        sum(range(9))\nDies()",
        "import atexit\nrun = cli.main\ndef at_exit():\n    os.kill(os.getpid(), signal.SIGINT)\n    sum(range(9))\n"
        "cli.main = lambda **how: (atexit.register(at_exit), run(**how))",
    ],
)
def test_where_python_would_show_a_traceback_or_swallow_it(code: str) -> None:
    done = run_code(code, "--version")
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


@pytest.mark.parametrize("then", ["raise RuntimeError('a library turns it into its own')", "return"])
def test_what_a_library_makes_of_it_is_an_interruption_still(then: str) -> None:
    code = (
        "def swallow():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        sum(range(9))\n"
        f"    except KeyboardInterrupt:\n        {then}\ncli.get_command = lambda *_: click.Command('list', callback=swallow, params=[JSON])"
    )
    done = run_code(code, "list", "--json")
    assert done.returncode == 130
    assert "internal error" not in done.stderr


def test_nothing_goes_on_after_an_import_that_swallows_it(tmp_path: Path) -> None:
    (tmp_path / "swallows.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    sum(range(9))\nexcept KeyboardInterrupt:\n    pass\n"
    )
    code = (
        f"def use():\n    sys.path.insert(0, {str(tmp_path)!r})\n    import swallows\n    print('went on')\n"
        "cli.get_command = lambda *_: click.Command('list', callback=use, params=[JSON])"
    )
    done = run_code(code, "list", "--json")
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
    assert json.loads(done.stdout) == {"error": "interrupted", "exit_code": 130}


def test_a_second_time_does_not_wait_for_what_is_cleaned_up() -> None:
    code = (
        "import time\ndef stubborn():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        sum(range(9))\n"
        "    finally:\n        os.kill(os.getpid(), signal.SIGINT)\n        time.sleep(50)\n"
        "cli.get_command = lambda *_: click.Command('list', callback=stubborn, params=[JSON])"
    )
    done = run_code(code, "list", "--json")
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
    assert json.loads(done.stdout) == {"error": "interrupted", "exit_code": 130}


def test_importing_the_commands_from_elsewhere_takes_nothing_over() -> None:
    assert not is_program()
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)


def test_who_ends_at_once_leaves_nothing_half_written(tmp_path: Path) -> None:
    with folder_aside(tmp_path, "model") as folder, written_aside(tmp_path / "file") as file:
        (folder / "weights").write_text("half")
        file.write_text("half")
        discard_asides()
        assert list(tmp_path.iterdir()) == []
        file.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert files._open == set()
