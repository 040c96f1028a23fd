"""What is broken on purpose: Cosmic Ray's operators on the code that proves, and one of our own that leaves a call out."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator

#: The code that proves: two rooms, the gate, and what of the ground they stand on.
ROOMS = ("mnist_edge/proof/*.py", "mnist_edge/store/*.py")
GATE = tuple(f"exporters/{name}.py" for name in ("plan", "writing", "gate", "evidence", "reference", "verdict"))
GROUND = tuple(f"mnist_edge/common/{name}.py" for name in ("trees", "logits", "shape"))

#: Of Cosmic Ray's eleven ways to replace an operator one or two are taken: the rest break what any test notices, and would flatter.
_BINARY = {
    "Add": ("Sub",),
    "Sub": ("Add",),
    "Mul": ("Div",),
    "Div": ("Mul",),
    "FloorDiv": ("Mul",),
    "Mod": ("Mul",),
    "Pow": ("Mul",),
    "BitOr": ("BitAnd",),
    "BitAnd": ("BitOr",),
}
_COMPARISON = {
    "Eq": ("NotEq",),
    "NotEq": ("Eq",),
    "Lt": ("LtE", "GtE"),
    "LtE": ("Lt", "Gt"),
    "Gt": ("GtE", "LtE"),
    "GtE": ("Gt", "Lt"),
    "Is": ("IsNot",),
    "IsNot": ("Is",),
}
_OTHERS = (
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "RemoveDecorator",
    "ZeroIterationForLoop",
    "ReplaceUnaryOperator_USub_UAdd",
    "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_Not",
)


class LeaveOutCall(Operator):
    """Leaves out a statement that is a call and nothing else: a check that is not made, a file that is not written."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if (
            node.type == "simple_stmt"
            and node.children[0].type in ("atom_expr", "power")
            and node.children[0].children[-1].type == "trailer"
        ):
            yield (node.children[0].start_pos, node.children[0].end_pos)

    def mutate(self, node: Any, index: int) -> Any:
        before = node.children[0].get_first_leaf().prefix
        node.children[0] = parso.parse(f"{before}pass")
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("check(x)\n", "pass\n"),)


class Mutant(NamedTuple):
    """A module with one thing changed.

    Attributes:
        module: its path in the repository.
        lines: the first and the last line that are changed, counted from 1.
        before, after: these lines.
        code: the whole module, changed.
    """

    module: str
    lines: tuple[int, int]
    before: str
    after: str
    code: str

    def __str__(self) -> str:
        return f"{self.module}: `{self.before}` → `{self.after}`"


def operators() -> list[tuple[str, Operator]]:
    """Return the operators by name."""
    names = [f"ReplaceBinaryOperator_{one}_{other}" for one, others in _BINARY.items() for other in others]
    names += [f"ReplaceComparisonOperator_{one}_{other}" for one, others in _COMPARISON.items() for other in others]
    return [(name, get_operator(f"core/{name}")()) for name in (*names, *_OTHERS)] + [("LeaveOutCall", LeaveOutCall())]


def modules(root: Path) -> list[str]:
    """Return the paths of all modules to be mutated."""
    rooms = sorted(path.relative_to(root).as_posix() for room in ROOMS for path in root.glob(room) if path.name != "__init__.py")
    return [*rooms, *GROUND, *GATE]


def mutants(root: Path, module: str) -> list[Mutant]:
    """Return all mutants of a module, those of annotations and of lines with ``pragma: no mutate`` left out."""
    source = (root / module).read_text("utf-8")
    texts = source.splitlines()
    spared, nodes = _spared(source), list(ast_nodes(get_ast(source)))
    found = {}
    for _, operator in operators():
        places = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, (line, column) in enumerate(places):
            if (
                line in spared
                or texts[line - 1].strip() == "*,"
                or any(first <= (line, column) < last for first, last in _annotations(source))
            ):
                continue
            try:
                code = mutate_code(source, operator, occurrence)
            except AttributeError:  # Cosmic Ray's ExceptionReplacer knows no dotted names
                continue
            if code is not None and _is_another(code, source):
                one = _mutant(module, source, code, line)
                found.setdefault(code, one)
    return sorted(found.values(), key=lambda one: (one.lines, one.after))


def _mutant(module: str, source: str, code: str, line: int) -> Mutant:
    old, new = source.splitlines(), code.splitlines()
    start = next(i for i, (a, b) in enumerate(zip([*old, ""], [*new, ""], strict=False)) if a != b)
    end = next(i for i, (a, b) in enumerate(zip(["", *old][::-1], ["", *new][::-1], strict=False)) if a != b)
    stop_old, stop_new = max(start + 1, len(old) - end), max(start + 1, len(new) - end)
    before, after = (" ".join(part.strip() for part in lines) for lines in (old[start:stop_old], new[start:stop_new]))
    return Mutant(module, (start + 1, stop_old), before, after, code)


def _is_another(code: str, source: str) -> bool:
    try:
        return ast.dump(ast.parse(code)) != ast.dump(ast.parse(source))  # 1e300 + 1 is 1e300
    except SyntaxError:
        return False


def _annotations(source: str, kept: dict[str, list[Any]] = {}) -> list[tuple[tuple[int, int], tuple[int, int]]]:  # noqa: B006
    """Return where annotations begin and end: nothing reads them while the program runs."""
    if source not in kept:
        found: list[ast.expr | None] = []
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.arg | ast.AnnAssign):
                found.append(node.annotation)
            elif isinstance(node, ast.FunctionDef):
                found.append(node.returns)
        kept[source] = [((a.lineno, a.col_offset), (a.end_lineno or 0, a.end_col_offset or 0)) for a in found if a is not None]
    return kept[source]


def _spared(source: str) -> set[int]:
    """Return the numbers of lines that say so, or that only a type checker reads."""
    checks = {number for number, line in enumerate(source.splitlines(), 1) if line == "if TYPE_CHECKING:"}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return checks | {token.start[0] for token in tokens if token.type == tokenize.COMMENT and "pragma: no mutate" in token.string}
