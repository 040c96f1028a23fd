"""What all commands share: their options, what they say and when, examples, completion. Run in this process."""

import importlib
import inspect
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pytest
from click.shell_completion import BashComplete

import mnist_edge
from mnist_edge.cli import COMMANDS, cli, common, completing
from mnist_edge.cli.common import Output
from mnist_edge.cli.outcomes import describe_report
from mnist_edge.common.text import age, count
from mnist_edge.dataset import Dataset
from mnist_edge.proof.parity import BUDGETS, Budget, check, compare

ROOT = Path(__file__).resolve().parents[1]


class Done(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Run the command in this process, in an empty folder, with nothing from the environment."""
    for name in [name for name in os.environ if name.startswith("MNIST_EDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main(args=list(map(str, arguments)), prog_name="mnist-edge")
        printed = capsys.readouterr()
        return Done(int(end.value.code or 0), printed.out, printed.err)

    return run


def all_commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}

    def walk(name: str, command: click.Command) -> None:
        found[name] = command
        if isinstance(command, click.Group):
            for child in command.list_commands(click.Context(command)):
                one = command.get_command(click.Context(command), child)
                assert one is not None
                walk(f"{name} {child}".strip(), one)

    walk("", cli)
    return found


ALL = all_commands()
LEAVES = {name: command for name, command in ALL.items() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("name", ALL)
def test_help_ends_with_examples_that_parse(name: str) -> None:
    """The parser takes each, and names in them are names that exist; nothing is run."""
    examples = re.findall(r"^  mnist-edge (.*)$", ALL[name].epilog or "", re.MULTILINE)
    assert 1 <= len(examples) <= 3
    for example in examples:
        words = shlex.split(example)
        assert " ".join(words).startswith(name)
        assert len(f"  mnist-edge {example}") <= 80
        command, given = parse(words)
        if given.get("architecture"):
            assert given["architecture"] in completing.NETWORKS
        for option, proposals in (("format_name", "formats"), ("runtime", "runtimes"), ("quantize", "precisions")):
            if given.get(option):
                known = getattr(completing, proposals)(click.Context(command), None, "")
                assert given[option] in {item.value for item in known} | ({"all"} if name == "verify" else set())
        assert f"  mnist-edge {example}" in command_help(name)


def parse(words: list[str]) -> tuple[click.Command, dict[str, object]]:
    """Parse a command line down to its last subcommand, without running it."""
    command: click.Command = cli
    with cli.make_context("mnist-edge", list(words)) as ctx:
        while isinstance(command, click.Group):
            name, child, rest = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
            assert child is not None
            command, ctx = child, child.make_context(name, rest, parent=ctx)
        return command, ctx.params


def command_help(name: str) -> str:
    return ALL[name].get_help(click.Context(ALL[name], info_name="mnist-edge", max_content_width=110))


def test_every_command_is_listed_with_a_file_of_its_own() -> None:
    files = {path.stem for path in (ROOT / "mnist_edge" / "cli").glob("*.py")}
    assert set(COMMANDS) <= files


@pytest.mark.parametrize("name", LEAVES)
def test_offers_only_options_that_the_function_takes(name: str) -> None:
    """The function itself, without what is wrapped around it; what it takes, it has to use."""
    command = LEAVES[name]
    assert command.callback is not None
    function = inspect.unwrap(command.callback)
    wanted = set(inspect.signature(function).parameters)
    source = inspect.getsource(function)
    for shared in ("data_dir", "models_dir"):
        offered = any(param.name == shared for param in command.params)
        assert offered == (shared in wanted)
        assert not offered or source.count(shared) >= 2, f"{name} offers {shared} and does not use it"


def test_an_option_that_does_nothing_is_refused_but_not_its_variable(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for command in ("formats", "predict img.png", "list", "show lenet", "benchmark lenet", "architectures"):
        done = call(*command.split(), "--data-dir", tmp_path)
        assert done.code == 2 and "--data-dir" in done.err
    monkeypatch.setenv("MNIST_EDGE_DATA_DIR", str(tmp_path))
    assert call("list").code == 0


def numbers() -> Iterator[tuple[str, click.Option]]:
    for name, command in LEAVES.items():
        for param in command.params:
            if isinstance(param, click.Option) and isinstance(param.type, click.types.FloatParamType):
                yield name, param


def test_every_option_with_a_fraction_is_a_checked_number() -> None:
    found = list(numbers())
    assert {param.name for _, param in found} >= {"min_confidence", "lr", "max_accuracy_drop", "older_than"}
    assert all(isinstance(param.type, common.Number) for _, param in found)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN", "infinity", "1e999"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("predict img.png", "--min-confidence"),
        ("train lenet", "--lr"),
        ("export lenet --format onnx --quantize static", "--max-accuracy-drop"),
        ("clean", "--older-than"),
    ],
)
def test_nan_and_infinity_are_refused(call: Call, monkeypatch: pytest.MonkeyPatch, command: str, option: str, value: str) -> None:
    done = call(*command.split(), f"{option}={value}")
    assert done.code == 2 and option in done.err and done.err.count("\n") == 1
    monkeypatch.setenv("MNIST_EDGE_" + option[2:].upper().replace("-", "_"), value)
    assert call(*command.split()).code == 2


@pytest.mark.parametrize(("option", "value"), [("--lr", "0"), ("--lr", "-1")])
def test_a_learning_rate_is_above_zero(call: Call, option: str, value: str) -> None:
    assert call("train", "lenet", f"{option}={value}").code == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_quiet_prints_results_and_errors_only(call: Call) -> None:
    loud, quiet = call("list"), call("list", "-q")
    assert loud.out == quiet.out and "lenet" in quiet.out and quiet.err == ""
    assert call("clean", "--quiet").err == ""
    failed = call("show", "nothing", "-q")
    assert failed.code == 2 and failed.err.startswith("error: unknown model 'nothing'") and failed.out == ""


def test_quiet_hides_what_is_said_and_keeps_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(False, quiet=True)
    out.say("model: lenet")
    out.detail("versions")
    out.next_step("show")
    out.problem("warning: few images")
    out.result({}, "result")
    assert capsys.readouterr() == ("result\n", "warning: few images\n")


def test_quiet_draws_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    from mnist_edge.cli.predict import _Progress
    from mnist_edge.cli.training_progress import _Lines, show_training

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    for quiet in (True, False):
        out = Output(False, quiet=quiet)
        out.progress(2, "train")(1)
        predicting = _Progress(out)
        for _ in range(32):
            predicting.step()
        with show_training(3, out) as listener:
            assert isinstance(listener, _Lines) == quiet
        assert bool(terminal.getvalue()) == (not quiet)


def test_verbose_says_what_was_decided_and_when(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MNIST_EDGE_MODELS_DIR", str(ROOT / "models"))
    plain, verbose = call("benchmark", "lenet", "--rounds", "nothing"), call("show", "lenet", "--verbose")
    assert plain.code == 2 and verbose.code == 0
    lines = verbose.err.splitlines()
    assert all(re.match(r"\[ *\d+\.\d\d s\] ", line) for line in lines)
    for part in (f"mnist-edge {mnist_edge.__version__}", "numpy", "onnxruntime", f"working folder: {tmp_path}"):
        assert part in verbose.err
    assert f"models folder: {ROOT / 'models'}" in verbose.err
    assert f"from the environment: --models-dir is {ROOT / 'models'} (MNIST_EDGE_MODELS_DIR)" in verbose.err
    assert call("show", "lenet").out == verbose.out


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["-q", "-v"], {}, None),
        ([], {"MNIST_EDGE_QUIET": "1", "MNIST_EDGE_VERBOSE": "1"}, None),
        (["-v"], {"MNIST_EDGE_QUIET": "1"}, True),
        (["-q"], {"MNIST_EDGE_VERBOSE": "1"}, False),
        ([], {"MNIST_EDGE_VERBOSE": "1"}, True),
        ([], {"MNIST_EDGE_QUIET": "1"}, False),
        ([], {"MNIST_EDGE_VERBOSE": "0", "MNIST_EDGE_QUIET": ""}, False),
    ],
)
def test_what_is_typed_outdoes_the_environment(
    call: Call, monkeypatch: pytest.MonkeyPatch, arguments: list[str], environment: dict[str, str], expected: bool | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = call("list", *arguments)
    if expected is None:
        assert done.code == 2 and "cannot be used together" in done.err
    else:
        assert done.code == 0 and bool(done.err) == expected


def complete(line: str) -> list[str]:
    """Return what the shell proposes for the last word of a line."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    found = BashComplete(cli, {}, "mnist-edge", "_MNIST_EDGE_COMPLETE").get_completions(words[1:-1], words[-1])
    return [item.value if item.type == "plain" else item.type for item in found]


def test_completes_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("MNIST_EDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "other", ".replaced"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models" / "mine" / "manifest.json").touch()
    assert complete("mnist-edge pre") == ["predict"]
    assert complete("mnist-edge show ") == ["lenet", "mine"]
    assert complete("mnist-edge predict --model m") == ["mine"]
    assert complete("mnist-edge predict --model ./x") == ["file"]
    assert complete("mnist-edge predict img") == ["file"]
    assert complete("mnist-edge train resnet") == ["resnet-tiny", "resnet18"]
    assert complete("mnist-edge export --format ") == ["c", "executorch", "litert", "onnx", "torchscript", "triton", "web"]
    assert complete("mnist-edge export --quantize s") == ["static"]
    assert complete("mnist-edge evaluate --runtime t") == ["tract", "torchscript", "torch"]
    assert complete("mnist-edge data im") == ["images"]
    assert complete(f"mnist-edge show --models-dir {ROOT / 'models'} g") == ["gru"]


def test_proposed_networks_are_those_of_the_registry() -> None:
    from mnist_edge import architectures

    own = [name for name in architectures.names() if architectures.find(name).network.__module__.startswith("mnist_edge.")]
    assert list(completing.NETWORKS) == sorted(own)


def test_the_installed_command_completes_without_torch(tmp_path: Path) -> None:
    """In a process where importing torch fails; `main` ends by os._exit, which must not lose the answer."""
    code = "import sys; sys.modules['torch'] = None; from mnist_edge.cli import main; sys.argv = ['mnist-edge']; main()"
    env = os.environ | {"_MNIST_EDGE_COMPLETE": "bash_complete", "COMP_WORDS": "mnist-edge train res", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,resnet-tiny\nplain,resnet18\n" and done.stderr == ""


def test_what_a_command_leaves_to_be_done_at_exit_is_done(tmp_path: Path) -> None:
    """`main` ends by os._exit: a thread at work is waited for, what was registered is run, what was said is not lost."""
    code = (
        "import atexit, sys, threading, time; from mnist_edge.cli import cli, main\n"
        "def command(**how):\n"
        "    atexit.register(print, 'registered')\n"
        "    threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()\n"
        "    print('said')\n"
        "    sys.exit(3)\n"
        "cli.main = command\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said\nthread\nregistered\n", "")


def test_counts_and_ages_in_words() -> None:
    assert [count(n, "epoch") for n in (0, 1, 2, 1200)] == ["0 epochs", "1 epoch", "2 epochs", "1,200 epochs"]
    assert [count(n, "process", "processes") for n in (1, 5)] == ["1 process", "5 processes"]
    assert [age(s) for s in (0, 1, 59, 60, 7200, 90000, 864000)] == [
        *("0 seconds", "1 second", "59 seconds", "1 minute", "2 hours", "1 day", "10 days")
    ]


def test_percentages_are_written_one_way() -> None:
    """``85.14 %`` by `text.percent`, not ``85.14%`` by a format of Python's."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("mnist_edge", "exporters")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"\{[^{}]*:[+.\d]*%\}", line)
    ]
    assert found == []


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(10, dtype=np.float32)[labels] * 10


def test_a_reason_that_all_batches_share_is_said_once(drawn_test: Dataset) -> None:
    def dead(pixels: np.ndarray) -> np.ndarray:
        raise RuntimeError("no such operator")

    report, _ = check(dead, one_hot(drawn_test.labels), drawn_test.images, drawn_test.labels, BUDGETS["float32"])
    because = [line for line in describe_report(report, drawn_test).splitlines() if "no such operator" in line]
    assert len(because) == 1 and "1, 2" in because[0] and "256" in because[0]


def test_a_tolerance_is_proposed_only_where_it_is_what_was_missed(drawn_test: Dataset) -> None:
    expected, labels = one_hot(drawn_test.labels), drawn_test.labels
    near = compare(expected, expected + np.float32(1e-3), labels, BUDGETS["float32"])
    assert "would pass at    a tolerance of 0.001" in describe_report(near, drawn_test)
    assert "would pass at" in describe_report(compare(expected, expected, labels, BUDGETS["float32"]), drawn_test)

    unequal = compare(expected, np.roll(expected, 1, axis=1), labels, BUDGETS["float32"])
    assert not unequal and "would pass at" not in describe_report(unequal, drawn_test)
    exact = compare(expected, expected, labels, Budget(1.0, 1e-4))
    other = replace(exact, failures=("batch of 7: died",))
    assert "would pass at" not in describe_report(other, drawn_test)


def test_an_unknown_precision_is_named_in_plain_words(call: Call) -> None:
    done = call("export", "lenet", "--format", "onnx", "--quantize", "int8")
    assert done.code == 2
    assert done.err == "error: --quantize int8: format onnx has no such precision; known: dynamic, fp16, none, static\n"


def test_more_threads_than_cores_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from mnist_edge.runtimes import usable_threads

    cores = usable_threads(256)
    assert cores == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    assert usable_threads(1) == 1
    ort = importlib.import_module("mnist_edge.runtimes.ort")
    asked: list[int] = []

    class Options(ort.ort.SessionOptions):  # type: ignore[misc, name-defined]
        def __setattr__(self, name: str, value: object) -> None:
            if name == "intra_op_num_threads":
                asked.append(int(str(value)))
            super().__setattr__(name, value)

    monkeypatch.setattr(ort.ort, "SessionOptions", Options)
    ort.load(ROOT / "models" / "lenet" / "lenet.onnx", 256)
    assert asked == [cores]


def test_the_package_lists_what_it_offers() -> None:
    assert {"Predictor", "Prediction", "__version__"} <= set(dir(mnist_edge))


def test_clean_lists_first_and_asks(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = tmp_path / "models" / ".failed" / "lenet-lenet.onnx-20260102-030405"
    failed.mkdir(parents=True)
    (failed / "report.json").write_text('{"failures": ["3 of 10000 answers changed"]}')
    for path in (failed, failed / "report.json"):
        os.utime(path, (0, 0))
    listed = call("clean")
    assert "refused: 3 of 10000 answers changed" in listed.out and "nothing was removed" in listed.out
    assert call("clean", "--failed").code == 2 and failed.exists()
    assert call("clean", "--failed", "--json").code == 2 and failed.exists()
    monkeypatch.setattr(sys, "stdin", terminal := Terminal("n\n"))
    assert call("clean", "--failed").out == "nothing was removed\n" and failed.exists()
    assert call("clean", "--replaced", "--yes").code == 0 and failed.exists()
    assert call("clean", "--all", "--yes", "--older-than", "100000").code == 0 and failed.exists()
    monkeypatch.setenv("MNIST_EDGE_ALL", "1")  # which report --all reads
    monkeypatch.setenv("MNIST_EDGE_YES", "1")
    assert call("clean").code == 0 and failed.exists()
    monkeypatch.setattr(sys, "stdin", terminal := Terminal("y\n"))
    assert "1 removed" in call("clean", "--failed").out and not failed.exists()
    assert terminal.read() == ""
    document = json.loads(call("clean", "--all", "--yes", "--json").out)
    assert document["leftovers"] == document["removed"] == []


def test_restore_lists_and_puts_back(call: Call, tmp_path: Path) -> None:
    kept = tmp_path / "models" / ".replaced" / "gru-20260102-030405"
    shutil.copytree(ROOT / "models" / "gru", kept)
    listed = call("restore")
    assert "gru-20260102-030405" in listed.out and "next: mnist-edge restore gru" in listed.err
    done = json.loads(call("restore", "gru", "--json").out)
    assert done["kept"] is None and (tmp_path / "models" / "gru" / "manifest.json").exists() and not kept.exists()
    refused = call("restore", "gru")
    assert refused.code == 2 and refused.err.startswith("error: unknown model to restore")
