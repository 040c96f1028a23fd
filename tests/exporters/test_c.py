"""Format c: the memory plan, the code that it writes and what compilers say about it, its mathematics, its self-test."""

import ctypes
import math
import random
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import c_code
import numpy as np
import pytest
from conftest import Command, train_small

from exporters.c import memory, text
from exporters.c.memory import Place, Plan
from exporters.c.steps import Network, Scratch, Step, Value, float_text, float_texts
from exporters.registry import find
from mnist_edge import store
from mnist_edge.common.errors import ExportError
from mnist_edge.common.trees import read_tree
from mnist_edge.dataset import Dataset
from mnist_edge.runtimes import Runtime, c_folder, native

MODELS = Path(__file__).resolve().parents[2] / "models"

KERNELS = Path(__file__).resolve().parents[2] / "exporters" / "c" / "kernels"


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=["float32", "int8-static"])
def lenet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet in C. Do not change it."""
    folder = tmp_path_factory.mktemp(request.param) / "lenet.c"
    file = "lenet.onnx" if request.param == "float32" else "lenet.int8-static.onnx"
    c_code.written(folder, MODELS / "lenet" / file, request.param, "lenet")
    return folder


# the memory plan


def lifetimes(seed: int) -> Network:
    """A network of steps that compute nothing: values of random sizes, views of them, scratch memory, and readers at random."""
    choose = random.Random(seed)
    pixels = Value("pixels", (1, 1, 28, 28), "uint8_t")
    values, steps = [pixels], []
    for index in range(choose.randint(1, 40)):
        read = choose.sample(values, min(len(values), choose.randint(1, 3)))
        kind = choose.choice(["uint8_t", "float"])
        made = Value(f"v{index}", (1, choose.randint(1, 300)), kind)
        output = made
        if made.elements > 1 and choose.random() < 0.2:  # a step that writes a part
            output = Value(f"part{index}", (1, 1), kind, source=made, start=choose.randint(0, made.elements - 1))
        scratch = [Scratch("float", choose.randint(1, 200))] if choose.random() < 0.3 else []
        steps.append(Step("nothing", (), (*read, *scratch, output), output, f"layer{index}"))
        values.append(made)
        if choose.random() < 0.3:
            values.append(Value(f"view{index}", (made.elements,), kind, source=made))
    logits = Value("logits", (1, 10))
    steps.append(Step("nothing", (), (values[-1], logits), logits, "last"))
    return Network(tuple(steps), pixels, logits)


def needed(network: Network) -> dict[Value | Scratch, tuple[int, int]]:
    """Return the first and the last step that touch each owner of memory; found by another way than the plan's."""
    found: dict[Value | Scratch, list[int]] = {}
    for index, step in enumerate(network.steps):
        for one in step.arguments:
            if isinstance(one, (Value, Scratch)):
                found.setdefault(one.root if isinstance(one, Value) else one, []).append(index)
    return {owner: (min(at), max(at)) for owner, at in found.items() if owner not in (network.pixels, network.logits)}


def faults(network: Network, plan: Plan) -> list[str]:
    """Say what is wrong with a plan."""
    spans, places = needed(network), {place.owner: place for place in plan.places}
    wrong = [] if set(spans) == set(places) and len(places) == len(plan.places) else ["not each value has one place"]
    if plan.bytes != max((place.offset + place.owner.bytes for place in plan.places), default=0):
        wrong.append("the workspace does not end where its last value does")
    for owner, place in places.items():
        if place.offset % 4 or place.offset < 0:
            wrong.append("a place is not aligned")
        for other, second in places.items():
            together = owner is not other and spans[owner][0] <= spans[other][1] and spans[other][0] <= spans[owner][1]
            if together and place.offset < second.offset + other.bytes and second.offset < place.offset + owner.bytes:
                wrong.append("two values that are needed at the same time overlap")
    return wrong


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_no_two_values_that_are_needed_at_the_same_time_overlap(first: int) -> None:
    for seed in range(first, first + 100):
        network = lifetimes(seed)
        plan = memory.plan(network)
        assert not faults(network, plan), seed
        spans = needed(network)
        least = max(sum(o.bytes for o, (a, z) in spans.items() if a <= at <= z) for at in range(len(network.steps)))
        assert least <= plan.bytes <= sum(owner.bytes for owner in spans)


def test_a_plan_in_which_two_values_overlap_would_be_noticed() -> None:
    network = lifetimes(3)
    plan = memory.plan(network)
    noticed = 0
    for place in plan.places:
        moved = Place(place.owner, 0, place.first, place.last)
        noticed += bool(faults(network, Plan(tuple(moved if one is place else one for one in plan.places), plan.bytes)))
    assert noticed > len(plan.places) / 2
    assert faults(network, Plan(plan.places, plan.bytes - 4))


def test_the_header_says_how_much_memory_a_call_takes(lenet: Path) -> None:
    """Bytes on both sides of the workspace, and of the logits, stay as they were; those in it do not matter before."""
    found = c_folder.read(lenet)
    batch = built(lenet, "")
    pixels, answers = c_code.pictures(8), []
    for filler in (0, 0xA5):
        memory_ = np.full(64 + found.workspace + 64, filler, np.uint8)
        logits = np.full(4 + 10 + 4, 7, np.float32)
        for image in pixels:
            batch.lenet_logits(
                ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(logits[4:].ctypes.data), ctypes.c_void_p(memory_[64:].ctypes.data)
            )
        assert (memory_[:64] == filler).all() and (memory_[-64:] == filler).all()
        assert (logits[:4] == 7).all() and (logits[-4:] == 7).all()
        assert (memory_[64:-64] != filler)[-16:].any(), "the workspace is larger than need be"
        answers.append(logits[4:14].copy())
    assert np.array_equal(*answers)


def built(folder: Path, harness: str, *flags: str) -> ctypes.CDLL:
    """Compile a network, and C that can see all of it, into a library."""
    source = folder.parent / f"harness-{abs(hash((harness, flags)))}.c"
    source.write_text(f'#include "lenet.c"\n#include "lenet_self_test.c"\n{harness}')
    library = source.with_suffix(".so")
    command = ["gcc", "-std=c99", "-O1", "-shared", "-fPIC", *flags, f"-I{folder}", "-o", library, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


# the text


def test_each_float_is_written_as_the_shortest_text_that_reads_back() -> None:
    """Many at once are written as one by one: numbers of every size, edges at which the form changes, zeros and what is too small to be normal."""
    rng = np.random.default_rng(0)
    edges = np.array([0, -0.0, 1, 1e-4, 1e6, 999999.94, 1e-45, 1e-38, 3.4028235e38, 16777216, 1 / 3], np.float32)
    beside = [np.nextafter(edges, np.float32(to), dtype=np.float32) for to in (0, 3.4028235e38)]
    any_bits = rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    values = np.concatenate([edges, -edges, *beside, any_bits[np.isfinite(any_bits)], rng.normal(size=20_000).astype(np.float32) / 30])
    words = float_texts(values)
    assert words == [float_text(value) for value in values]
    assert np.array_equal(np.array([word.removesuffix("f") for word in words], np.float32).view(np.uint32), values.view(np.uint32))
    for wrong in (np.inf, -np.inf, np.nan):
        with pytest.raises(ExportError, match="cannot write"):
            float_texts(np.array([1, wrong], np.float32))


@pytest.mark.parametrize("count", [0, 1, 2, 17, 5000])
def test_lines_are_as_full_as_textwrap_makes_them(count: int) -> None:
    choose = random.Random(count)
    words = ["-" * choose.randint(0, 1) + "1" * choose.choice([1, 2, 9, 14, 200]) for _ in range(count)]
    assert list(text.filled(words, 136)) == textwrap.wrap(", ".join(words), 136, break_long_words=False)


# what compilers say

COMPILERS = {"gcc": "-std=c99", "clang": "-std=c99", "g++": "-std=c++11", "clang++": "-std=c++11"}


@pytest.mark.parametrize("compiler", [pytest.param(name, marks=pytest.mark.proof if "++" in name else []) for name in COMPILERS])
def test_compilers_have_nothing_to_say(compiler: str, lenet: Path, tmp_path: Path) -> None:
    for source in ("lenet.c", "lenet_self_test.c"):
        language = ("-x", "c++") if "++" in compiler else ()
        done = c_code.compiled(lenet / source, tmp_path / "x.o", COMPILERS[compiler], "-O2", *c_code.STRICT, *language, compiler=compiler)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast"])
def test_fast_math_is_refused(flag: str, compiler: str, lenet: Path, tmp_path: Path) -> None:
    done = c_code.compiled(lenet / "lenet.c", tmp_path / "x.o", flag, compiler=compiler)
    assert done.returncode and "compile this file without -ffast-math" in done.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    "level", ["-O2", "-Os", pytest.param("-O0", marks=pytest.mark.proof), pytest.param("-O3", marks=pytest.mark.proof)]
)
def test_it_needs_no_library_and_keeps_nothing(level: str, compiler: str, lenet: Path, tmp_path: Path) -> None:
    """No symbol is left to a library, not even those to copy and fill memory that compilers put in; nothing can be written to."""
    done = c_code.compiled(lenet / "lenet.c", tmp_path / "x.o", "-std=c99", level, "-ffreestanding", compiler=compiler)
    assert done.returncode == 0, done.stderr
    symbols = [
        line.split() for line in subprocess.run(["nm", tmp_path / "x.o"], capture_output=True, text=True, check=True).stdout.splitlines()
    ]
    copied = {"memcpy"} if (compiler, level) == ("clang", "-O0") else set()  # a layer's sizes, which it hands on by value
    assert {words[-1] for words in symbols if words[-2] == "U"} <= {"_GLOBAL_OFFSET_TABLE_", *copied}
    assert not [words for words in symbols if words[-2] in "dDbBC"]
    assert {words[-1] for words in symbols if words[-2] == "T"} == {"lenet_logits", "lenet_predict"}


#: What projects compile with. With gnu99, gcc contracts to one rounding without being asked; clang is asked.
PROJECTS = {
    "gcc": [("-std=gnu99", "-O3", "-march=native")],
    "clang": [("-std=gnu99", "-O3", "-march=native"), ("-std=gnu99", "-O3", "-march=native", "-ffp-contract=fast")],
}
for _flags in PROJECTS.values():
    _flags += [("-std=c99", "-Os"), ("-std=c99", "-O2", "-DPLAIN_C"), ("-std=c99", "-O2", "-ffinite-math-only", "-fno-signed-zeros")]


@pytest.mark.proof
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [pytest.param(compiler, flags, id=" ".join((compiler, *flags))) for compiler, each in PROJECTS.items() for flags in each],
)
def test_the_flags_of_a_project_change_no_bit(compiler: str, flags: tuple[str, ...], lenet: Path, tmp_path: Path) -> None:
    if compiler == "clang" and "-ffp-contract=fast" in flags and lenet.parent.name.startswith("float32"):
        flags = tuple(flag for flag in flags if flag != "-ffp-contract=fast")  # with it, clang does not heed the pragma; docs/c.md says so
    pixels = c_code.pictures(200)
    source = tmp_path / "batch.c"
    source.write_text(
        '#include "lenet.c"\nvoid batch(const uint8_t *p, float *l, void *w, int n)\n'
        "{ for (int i = 0; i < n; i++) lenet_logits(p + 784 * i, l + 10 * i, w); }\n"
    )
    command = [compiler, *flags, "-shared", "-fPIC", f"-I{lenet}", "-o", tmp_path / "x.so", source]
    subprocess.run(command, capture_output=True, check=True)
    logits, workspace = np.empty((200, 10), np.float32), np.empty(c_folder.read(lenet).workspace, np.uint8)
    batch = ctypes.CDLL(str(tmp_path / "x.so")).batch
    batch(*(ctypes.c_void_p(one.ctypes.data) for one in (pixels, logits, workspace)), 200)
    assert np.array_equal(logits.view(np.uint32), native.load(lenet)(pixels).view(np.uint32))


# what it answers


def test_threads_can_call_it_at_the_same_time(lenet: Path) -> None:
    run, parts = native.load(lenet), [c_code.pictures(300, seed) for seed in range(6)]
    alone = [run(part) for part in parts]
    with ThreadPoolExecutor(6) as pool:
        for together in pool.map(lambda _: list(pool.map(run, parts)), range(1)):
            assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
        for at, answer in [(at, pool.submit(run, parts[at])) for _ in range(5) for at in range(6)]:
            assert np.array_equal(answer.result(), alone[at])


def test_the_same_weights_give_the_same_bytes_anywhere(lenet: Path, tmp_path: Path) -> None:
    precision = lenet.parent.name.removesuffix("0")
    file = "lenet.onnx" if precision == "float32" else "lenet.int8-static.onnx"
    again = tmp_path / "elsewhere" / "lenet.c"
    code = (
        f"import sys; from pathlib import Path; import c_code; c_code.written(Path(sys.argv[1]), Path(sys.argv[2]), {precision!r}, 'lenet')"
    )
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "PYTHONHASHSEED": "7",
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C",
        "HOME": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", code, again, MODELS / "lenet" / file], check=True, env=environment, cwd=tmp_path)
    assert read_tree(again) == read_tree(lenet)
    assert all(str(tmp_path).encode() not in path.read_bytes() for path in again.rglob("*") if path.is_file())


def test_predict_gives_the_largest_logit(lenet: Path) -> None:
    library, workspace = built(lenet, ""), np.empty(c_folder.read(lenet).workspace, np.uint8)
    pixels = c_code.pictures(50)
    answers = [library.lenet_predict(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(workspace.ctypes.data)) for image in pixels]
    assert answers == native.load(lenet)(pixels).argmax(axis=1).tolist()


# the self-test

_CHANGE = """
int changed_self_test(void *weights, int size, int index, unsigned mask, void *workspace)
{
    unsigned char *byte = (unsigned char *)weights + size * index + size - 1;
    *byte = (unsigned char)(*byte ^ mask);
    const int found = lenet_self_test(workspace);
    *byte = (unsigned char)(*byte ^ mask);
    return found;
}
"""


def test_the_self_test_passes_and_notices_a_weight_that_changed(lenet: Path) -> None:
    """The sign of a weight, or of what a sum is multiplied with, turns. Some weights count for none of the ten images."""
    library = built(lenet, _CHANGE + _pointers(lenet), "-Dconst=")
    workspace = np.empty(c_folder.read(lenet).workspace, np.uint8)
    at = ctypes.c_void_p(workspace.ctypes.data)
    assert library.lenet_self_test(at) == 0
    choose, noticed, tried = random.Random(0), 0, 0
    library.array_of.restype = ctypes.c_void_p
    for number, (kind, _, length) in enumerate(_arrays(lenet)):
        if kind == "uint8_t":
            continue
        for index in choose.sample(range(length), min(length, 30)):
            size = {"int8_t": 1, "int32_t": 4, "float": 4}[kind]
            weights = ctypes.c_void_p(library.array_of(number))
            noticed += library.changed_self_test(weights, size, index, 0x80, at) != 0
            tried += 1
    assert library.lenet_self_test(at) == 0
    assert tried > 150 and noticed > 0.6 * tried, (noticed, tried)


def _arrays(folder: Path) -> list[tuple[str, str, int]]:
    found = re.findall(r"^static const (\w+) (\w+)\[(\d+)\] = \{", (folder / "lenet.c").read_text(), re.MULTILINE)
    return [(kind, name, int(length)) for kind, name, length in found]


def _pointers(folder: Path) -> str:
    names = ", ".join(f"(void *){name}" for _, name, _ in _arrays(folder))
    return f"void *array_of(int i) {{ void *all[] = {{{names}}}; return all[i]; }}\n"


# its mathematics


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("curves")
    names = ("exp", "sigmoid", "tanh", "erf", "sqrt")
    each = "\n".join(f"void {n}s(const float *x, float *y, int n) {{ for (int i = 0; i < n; i++) y[i] = {n}_f32(x[i]); }}" for n in names)
    kernels = "".join((KERNELS / f"{name}.c").read_text() for name in ("common", "math_f32"))
    (folder / "curves.c").write_text(f"#include <stdint.h>\n{kernels}\n{each}\n")
    command = ["gcc", "-std=c99", "-O2", "-shared", "-fPIC", "-o", folder / "curves.so", folder / "curves.c"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "curves.so"))


def ask(curves: ctypes.CDLL, name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    getattr(curves, f"{name}s")(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), len(x))
    return y


def units(y: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error in units of the last place."""
    return float((np.abs(y.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)).max())


def spread(low: float, high: float) -> np.ndarray:
    """Numbers evenly spread, and evenly spread in their logarithms, on both sides of zero as far as the range goes."""
    even = np.linspace(low, high, 200_001)
    near = np.geomspace(1e-30, max(abs(low), abs(high)), 100_001)
    every = np.concatenate([even, near, -near])
    return every[(every >= low) & (every <= high)].astype(np.float32)


_erf = np.vectorize(math.erf)


@pytest.mark.parametrize(
    ("name", "low", "high", "exact", "most"),
    [
        ("exp", -86.9, 87.9, np.exp, 2.0),
        ("sigmoid", -86.0, 86.0, lambda x: 1 / (1 + np.exp(-x)), 3.0),
        ("tanh", -50.0, 50.0, np.tanh, 3.0),
        ("erf", -10.0, 10.0, _erf, 4.0),
    ],
)
def test_a_curve_is_right_to_a_few_units_in_the_last_place(
    name: str, low: float, high: float, exact: Callable[[np.ndarray], np.ndarray], most: float, curves: ctypes.CDLL
) -> None:
    x = spread(low, high)
    assert units(ask(curves, name, x), exact(x.astype(np.float64))) <= most


def test_a_root_is_right_to_a_unit_in_the_last_place(curves: ctypes.CDLL) -> None:
    x = np.geomspace(np.finfo(np.float32).tiny, 3e38, 500_001).astype(np.float32)
    assert units(ask(curves, "sqrt", x), np.sqrt(x.astype(np.float64))) <= 1.0


def test_curves_end_where_they_have_to(curves: ctypes.CDLL) -> None:
    far = np.array([-np.inf, -3e38, -1e4, -100, 100, 1e4, 3e38, np.inf], np.float32)
    tiny = np.array([0.0, 1e-45, -1e-45, 1e-38], np.float32)
    assert ask(curves, "sigmoid", far).tolist() == pytest.approx([0] * 4 + [1] * 4, abs=1e-37)
    for name in ("tanh", "erf"):
        assert ask(curves, name, far).tolist() == [-1] * 4 + [1] * 4
        assert np.abs(ask(curves, name, tiny)).max() <= 1.2e-38
    assert ask(curves, "exp", far[:4]).max() < 2e-38
    assert np.isfinite(ask(curves, "exp", far)).all()
    assert ask(curves, "exp", tiny[:1])[0] == 1


# the command


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory, drawn_train: Dataset, drawn_test: Dataset) -> store.Model:
    """A network with a convolution in groups, which format c has no kernel for."""
    return train_small(tmp_path_factory.mktemp("grouped"), "own:Grouped", data=drawn_train, test=drawn_test, name="grouped")


@pytest.mark.slow
def test_an_operator_without_a_kernel_is_refused_before_anything_is_published(grouped: store.Model, run_command: Command) -> None:
    place = ("--models-dir", grouped.home, "--data", "drawn", "--allow-network", "own:Grouped")
    run_command("export", "grouped", "--format", "onnx", *place)
    before = sorted(path.name for path in grouped.folder.iterdir())
    done = run_command("export", "grouped", "--format", "c", *place, check=1)
    assert "error: format c has no kernel for Conv with groups" in done.stderr and "(node second/Conv)" in done.stderr.splitlines()[-1]
    assert sorted(path.name for path in grouped.folder.iterdir()) == before


def test_target_none_asks_no_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "missing", lambda self: {})  # the emulators are there
    further = find("c").further
    assert further is not None
    assert further({}, {"macs": 5}) == ("cortex-m4",)
    assert further({"target": ("none",)}, {"macs": 5}) == ()
    assert further({"target": ("microbit", "cortex-m0", "none")}, {}) == ("cortex-m0",)
