"""Networks and plug-ins are somebody's code: whatever they raise, sys.exit included, this program says so and fails."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from mnist_edge.architectures import Architecture, build, registry
from mnist_edge.cli import cli
from mnist_edge.common import plugins, trust
from mnist_edge.common.errors import PluginWarning, UsageError


class Odd(BaseException):
    """Not an Exception."""


class ExitsWhenBuilt(nn.Module):
    def __init__(self, how: str = "exit") -> None:
        super().__init__()
        if how == "exit":
            sys.exit(0)
        if how == "ctrl-c":
            raise KeyboardInterrupt
        raise Odd("odd")


class ExitsWhenRun(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x: object) -> object:
        sys.exit(0)


class RaisesOddWhenRun(ExitsWhenRun):
    def forward(self, x: object) -> object:
        raise Odd("odd\nnews")


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.names()
    more = {kind.__name__: Architecture(kind.__name__, kind, "x") for kind in (ExitsWhenBuilt, ExitsWhenRun, RaisesOddWhenRun)}
    monkeypatch.setattr(registry, "_registered", registry._registered | more)


@pytest.mark.parametrize(
    ("code", "message"), [("sys.exit(0)", "SystemExit: 0"), ("raise Odd('a\\nb')", "Odd: a b"), ("sys.exit()", "SystemExit")]
)
def test_a_plug_in_that_ends_the_program_is_a_warning(code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quitter.py").write_text(f"import sys\nclass Odd(BaseException): pass\n{code}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [EntryPoint("quitter", "quitter:FORMAT", "g"), EntryPoint("two", "json:dumps", "g")]
    )
    registered: list[object] = []
    with pytest.warns(PluginWarning) as warned:
        plugins.register_plugins("g", SimpleNamespace, registered.append)
    assert "simplenamespace 'quitter' (quitter:FORMAT) could not be loaded: " + message in str(warned[0].message)
    assert len(warned) == 2, "the second is looked at, too"


def test_a_plug_in_does_not_swallow_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quitter.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint("quitter", "quitter:FORMAT", "g")])
    with pytest.raises(KeyboardInterrupt):
        plugins.register_plugins("g", SimpleNamespace, print)


@pytest.mark.parametrize(("how", "message"), [("exit", "SystemExit: 0"), ("odd", "Odd: odd")])
def test_a_network_that_ends_the_program_when_it_is_built(networks: None, how: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"network ExitsWhenBuilt: cannot be built with .*: {message} \\(\\S+:\\d+\\)$"):
        build("ExitsWhenBuilt", {"how": how})
    with pytest.raises(KeyboardInterrupt):
        build("ExitsWhenBuilt", {"how": "ctrl-c"})


def test_a_module_that_ends_the_program_when_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaving.py").write_text("class Odd(BaseException): pass\nraise Odd")
    with trust.allowing(["leaving:Net"]), pytest.raises(UsageError, match="network leaving:Net: leaving cannot be imported: Odd"):
        build("leaving:Net")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("ExitsWhenBuilt", "error: network ExitsWhenBuilt: cannot be built with {}: SystemExit: 0 (tests/test_code_from_outside.py:25)"),
        ("ExitsWhenRun", "error: network ExitsWhenRun does not take float32 N×1×28×28: SystemExit: 0 (tests/test_code_from_outside.py:37)"),
        ("RaisesOddWhenRun", f"error: {__file__}:42 raised Odd: odd news, which left the command unfinished"),
    ],
)
def test_no_command_ends_without_a_word(networks: None, network: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(args=["architectures", network])
    assert end.value.code in (1, 2)
    printed = capsys.readouterr()
    assert printed.err == message + "\n"
    assert printed.out == ""


def test_click_still_ends_as_it_wants(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, code in ((["--version"], 0), (["formats", "--help"], 0), (["formats", "--nothing"], 2), ([], 2)):
        with pytest.raises(SystemExit) as end:
            cli.main(args=arguments)
        assert end.value.code == code
        capsys.readouterr()
