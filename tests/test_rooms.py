"""The house as ARCHITECTURE.md draws it: every import goes down, lazy ones counted, and every room is on the drawing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1]


def _floors() -> list[list[str]]:
    """Return the rooms of each floor, the top first, as ARCHITECTURE.md lists them."""
    text = (HOUSE / "ARCHITECTURE.md").read_text()
    block = re.search(r"```floors\n(.*?)```", text, re.DOTALL)
    assert block, "ARCHITECTURE.md lists no floors"
    return [line.split() for line in block[1].splitlines()]


def _modules(house: Path) -> dict[str, Path]:
    found = {}
    for top in ("mnist_edge", "exporters"):
        for path in (house / top).rglob("*.py"):
            parts = path.relative_to(house).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("mnist_edge", "exporters"):
            assert node.level == 0, f"{path}: a relative import"
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in modules else node.module


def _room(module: str) -> str:
    """Return the room that a module is in; of the package itself, which only leads to the others, its own name."""
    parts = module.split(".")
    return "exporters" if parts[0] == "exporters" else parts[1] if len(parts) > 1 else parts[0]


def _wrong_ways(house: Path, floors: list[list[str]]) -> list[str]:
    level = {room: height for height, rooms in enumerate(floors) for room in rooms}
    modules = _modules(house)
    wrong = []
    for module, path in sorted(modules.items()):
        for imported in _imports(path, modules):
            a, b = _room(module), _room(imported)
            if a != b and not level[a] < level[b]:
                wrong.append(f"{module} imports {imported}, which is not below it")
    return wrong


def test_every_import_goes_down() -> None:
    assert _wrong_ways(HOUSE, _floors()) == []


def test_the_drawing_has_every_room_and_no_other() -> None:
    drawn = [room for rooms in _floors() for room in rooms]
    assert sorted(drawn) == sorted({_room(module) for module in _modules(HOUSE)})


def test_at_the_top_lie_the_public_face_and_rooms() -> None:
    assert {path.name for path in (HOUSE / "mnist_edge").glob("*.py")} == {"__init__.py", "__main__.py", "predictor.py"}


@pytest.mark.parametrize(
    "line", ["from mnist_edge.cli.common import Output", "def f():\n    from mnist_edge import predictor", "import mnist_edge.proof.parity"]
)
def test_an_import_that_goes_up_is_seen(line: str, tmp_path: Path) -> None:
    for module, path in _modules(HOUSE).items():
        copy = tmp_path / path.relative_to(HOUSE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text() + (f"\n{line}\n" if module == "mnist_edge.store.manifest" else ""))
    found = _wrong_ways(tmp_path, _floors())
    assert len(found) == 1 and found[0].startswith("mnist_edge.store.manifest imports mnist_edge."), found
