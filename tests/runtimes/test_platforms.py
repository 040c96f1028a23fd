"""What kind of machine this is, as the processor itself says it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_edge.runtimes import platforms
from mnist_edge.runtimes.platforms import Platform, here

MILAN = Platform("Linux", "x86_64", ("avx", "avx2", "fma"), "AMD EPYC 7B13")
PI = Platform("Linux", "aarch64", ("asimd",), "Cortex-A72", "qemu 10.0.13")

#: What numpy calls some of the features; it asks the processor with code of its own.
NUMPY = {"AVX": "avx", "AVX2": "avx2", "FMA3": "fma", "AVX512F": "avx512f", "AVX512BW": "avx512bw", "AVX512VNNI": "avx512_vnni"}
NUMPY |= {"AVX512BF16": "avx512_bf16", "AVX512FP16": "avx512_fp16"}
NUMPY |= {"ASIMD": "asimd", "ASIMDHP": "asimdhp", "ASIMDDP": "asimddp", "ASIMDFHM": "asimdfhm", "SVE": "sve"}


@pytest.fixture
def looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "_here", None)


def numpy_features() -> dict[str, bool]:
    core: Any = np._core if hasattr(np, "_core") else np.core  # type: ignore[attr-defined]
    known: dict[str, bool] = core._multiarray_umath.__cpu_features__
    return {feature: known[name] for name, feature in NUMPY.items() if name in known}


def test_features_are_those_that_numpy_finds() -> None:
    found = numpy_features()
    assert len(found) >= 5
    assert {feature for feature in here().features if feature in found} == {feature for feature, is_there in found.items() if is_there}


def test_it_is_looked_up_once_and_in_milliseconds(looked_up_again: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = []
    for _ in range(20):
        monkeypatch.setattr(platforms, "_here", None)
        start = time.perf_counter()
        first = here()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.005
    assert here() is first


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_first_processor_is_the_first_block_of_cpuinfo() -> None:
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    words = platforms._first_processor()
    assert list(words) == [line.split(":")[0].strip() for line in first.splitlines()]
    assert words["processor"] == "0"


@pytest.mark.skipif(here().system != "Linux" or here().machine != "x86_64", reason="x86 on Linux")
def test_a_c_library_that_tells_nothing_leaves_the_kernels_list(looked_up_again: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if platforms._cpuid() is None:
        pytest.skip("this C library tells nothing")
    asked = here()
    monkeypatch.setattr(platforms, "_here", None)
    monkeypatch.setattr(platforms, "_cpuid", lambda: None)
    assert here().same_kind(asked)


@pytest.mark.skipif(here().system != "Linux" or here().machine != "x86_64", reason="x86 on Linux")
def test_a_name_from_the_machine_below_an_emulator_is_not_believed(looked_up_again: None, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"flags": "fpu avx avx2 fma avx512f avx512_vnni", "model name": "a big server"}
    monkeypatch.setattr(platforms, "_first_processor", lambda: words)
    monkeypatch.setattr(platforms, "_cpuid", lambda: {"avx", "avx2", "fma"})
    assert here() == Platform("Linux", "x86_64", ("avx", "avx2", "fma"))
    monkeypatch.setattr(platforms, "_here", None)
    words["flags"] = "fpu avx avx2 fma"
    assert here().processor == "a big server"


def test_same_kind_is_the_same_arithmetic() -> None:
    assert MILAN.same_kind(MILAN._replace(processor="Haswell", emulated="qemu 10.0.13"))
    for other in ({"system": "Windows"}, {"machine": "i686"}, {"features": ("avx", "avx2", "avx512_vnni", "fma")}, {"features": ()}):
        assert not MILAN.same_kind(MILAN._replace(**other))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("platform", "told"),
    [
        (MILAN, "Linux x86_64 with AVX2 and FMA (AMD EPYC 7B13)"),
        (PI, "Linux aarch64 with NEON (Cortex-A72, qemu 10.0.13)"),
        (PI._replace(features=("asimd", "asimddp", "asimdhp"), emulated=""), "Linux aarch64 with FP16 and dot product (Cortex-A72)"),
        (
            MILAN._replace(features=("avx", "avx2", "avx512_vnni", "avx512bw", "avx512f", "fma")),
            "Linux x86_64 with AVX-512 VNNI (AMD EPYC 7B13)",
        ),
        (Platform("Linux", "riscv64", ()), "Linux riscv64"),
        (Platform("Windows", "x86_64", ("avx2", "intel64-model-158")), "Windows x86_64 with AVX2 and intel64-model-158"),
    ],
)
def test_described_in_one_phrase(platform: Platform, told: str) -> None:
    assert platform.describe() == told


@pytest.mark.parametrize("platform", [MILAN, PI, Platform("Linux", "riscv64", ())])
def test_json_gives_it_back(platform: Platform) -> None:
    assert Platform.from_json(json.loads(json.dumps(platform.to_json()))) == platform
    assert Platform.from_json(platform.to_json() | {"of a later version": 1}) == platform


@pytest.mark.parametrize(
    "damage",
    [{"system": ""}, {"machine": 7}, {"features": "avx"}, {"features": [1]}, {"features": None}, {"processor": None}, {"emulated": []}],
)
def test_json_of_something_else_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a platform must have"):
        Platform.from_json(MILAN.to_json() | damage)


def test_it_is_a_file_that_runs_alone() -> None:
    """Another machine loads it without this package; what it imports takes no time."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import platforms; before = set(sys.modules); print(*before)\n"
    code += "print(platforms.here().to_json())"
    folder = Path(platforms.__file__).parent
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, folder], capture_output=True, text=True, check=True)
    imported, fields = done.stdout.splitlines()
    assert not {"ctypes", "numpy", "platform", "subprocess", "mnist_edge"} & set(imported.split())
    assert fields == str(here().to_json())
