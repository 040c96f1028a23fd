"""Describes where a runtime runs: system, machine, and the processor features that change arithmetic.

Needs the standard library alone and nothing of this package, because `answering` loads this file on other machines.

On Linux, this does not trust data that an emulator passes on from the machine below it: on x86 it asks the C library what the CPUID instruction
gave it (glibc 2.33 or newer; elsewhere /proc/cpuinfo is read), on Arm the kernel's auxiliary vector is. Seen on Linux: x86_64, and aarch64
under qemu. Never run: macOS, Windows, 32-bit Arm.
"""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

#: The usual names of these features, in the order in which they are listed.
_SPOKEN = {
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512bw": "",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_fp16": "AVX-512 FP16",
    "avx_vnni": "AVX-VNNI",
    "avx_vnni_int8": "AVX-VNNI-INT8",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
    "neon": "NEON",
    "asimd": "NEON",
    "asimdhp": "FP16",
    "asimdfhm": "FP16 sums in float32",
    "asimddp": "dot product",
    "i8mm": "INT8 matrices",
    "bf16": "BF16",
    "sve": "SVE",
    "sve2": "SVE2",
    "sme": "SME",
}

#: Features that are implied by these.
_IMPLIED = {
    "avx2": ("avx",),
    "avx512f": ("avx", "avx2", "fma"),
    "avx512_vnni": ("avx512f",),
    "avx512_bf16": ("avx512f",),
    "asimdhp": ("asimd",),
    "asimddp": ("asimd",),
    "sve2": ("sve",),
}


class Platform(NamedTuple):
    """A kind of machine, as far as it changes what a network answers.

    Attributes:
        system: "Linux", "Darwin", "Windows"; whatever Python calls another one.
        machine: "x86_64", "aarch64", "i686", "armv7l"; one word whatever the system calls it.
        features: the processor features that change arithmetic, sorted, as Linux names them.
        processor: its name, for people; empty where it is not known.
        emulated: what emulates it, and its version; empty for a real one.
    """

    system: str
    machine: str
    features: tuple[str, ...]
    processor: str = ""
    emulated: str = ""

    def same_kind(self, other: "Platform") -> bool:
        """Say whether the other one has the same arithmetic: its processor may have another name, and may be emulated."""
        return self[:3] == other[:3]

    def describe(self) -> str:
        """Return one phrase, such as "Linux x86_64 with AVX2 and FMA (AMD EPYC 7B13)"."""
        implied = {lesser for feature in self.features for lesser in _IMPLIED.get(feature, ())}
        told = [name for feature, name in _SPOKEN.items() if feature in self.features and feature not in implied and name]
        told += [feature for feature in self.features if feature not in _SPOKEN]
        listed = " and ".join(filter(None, (", ".join(told[:-1]), *told[-1:])))
        who = ", ".join(filter(None, (self.processor, self.emulated)))
        return f"{self.system} {self.machine}{f' with {listed}' if listed else ''}{f' ({who})' if who else ''}"

    def to_json(self, used: Iterable[str] = ()) -> dict[str, Any]:
        """Return the fields as JSON values; `used` is what of the processor a runtime says that it uses, where it tells."""
        return self._asdict() | {"features": list(self.features)} | ({"used": list(used)} if used else {})

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Platform":
        """Return what `to_json` gave. Raises ValueError for anything else; fields that are not known are passed over."""
        texts = {name: fields.get(name, "") for name in ("system", "machine", "processor", "emulated")}
        features = fields.get("features")
        if not texts["system"] or not texts["machine"] or not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("a platform must have a system and a machine, both strings")
        if not isinstance(features, list) or not all(isinstance(feature, str) for feature in features):
            raise ValueError("a platform must have a list of processor features, all strings")
        return cls(features=tuple(sorted(set(features))), **texts)


def here() -> Platform:
    """Return the platform that this process runs on. It is looked up once."""
    global _here
    if _here is None:
        system, machine = _system(), _machine()
        features, processor, emulated = {"Linux": _linux, "Darwin": _macos, "Windows": _windows}.get(system, _unknown)(machine)
        _here = Platform(system, machine, tuple(sorted(set(features))), processor, emulated)
    return _here


_here: Platform | None = None

#: Features, the processor's name, what emulates it.
_Seen = tuple[Iterable[str], str, str]


def _system() -> str:
    return {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}.get(sys.platform, sys.platform)


def _machine() -> str:
    name = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    machine = {"amd64": "x86_64", "arm64": "aarch64", "x86": "i686"}.get(name.lower(), name.lower())
    if sys.maxsize < 2**32:  # a program of 32 bits may run on a kernel of 64
        machine = {"x86_64": "i686", "aarch64": "armv7l", "armv8l": "armv7l"}.get(machine, machine)
    return machine


def _unknown(machine: str) -> _Seen:
    return (), "", ""


# Linux

#: Leaf of CPUID as glibc numbers them (sys/platform/x86.h), register (EAX to EDX), bit. Source: Intel SDM, volume 2A, CPUID.
_CPUID = {
    "fma": (0, 2, 12),
    "avx": (0, 2, 28),
    "avx2": (1, 1, 5),
    "avx512f": (1, 1, 16),
    "avx512bw": (1, 1, 30),
    "avx512_vnni": (1, 2, 11),
    "amx_bf16": (1, 3, 22),
    "avx512_fp16": (1, 3, 23),
    "amx_int8": (1, 3, 25),
    "avx_vnni": (6, 0, 4),
    "avx512_bf16": (6, 0, 5),
    "avx_vnni_int8": (6, 3, 4),
}

#: The system keeps the wide registers (OSXSAVE); without it none of the features above can be used.
_KEPT = (0, 2, 27)

#: Type of the entry in the auxiliary vector (AT_HWCAP, AT_HWCAP2) and bit. Source: Linux, arch/arm64/include/uapi/asm/hwcap.h.
_HWCAP = {
    "asimd": (16, 1),
    "asimdhp": (16, 10),
    "asimddp": (16, 20),
    "sve": (16, 22),
    "asimdfhm": (16, 23),
    "sve2": (26, 1),
    "i8mm": (26, 13),
    "bf16": (26, 14),
    "sme": (26, 23),
}

#: Arm's own cores by part number. Source: Linux, arch/arm64/include/asm/cputype.h.
_CORES = {0xD03: "Cortex-A53", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75"}
_CORES |= {0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78", 0xD49: "Neoverse-N2", 0xD4F: "Neoverse-V2"}


def _linux(machine: str) -> _Seen:
    words = _first_processor()
    if machine in ("x86_64", "i686"):
        written = set(words.get("flags", "").split()).intersection(_CPUID)
        seen = _cpuid()
        if seen is None:
            return written, words.get("model name", ""), ""
        foreign = written.symmetric_difference(seen).intersection(("avx", "avx2", "fma", "avx512f"))
        return seen, "" if foreign else words.get("model name", ""), ""  # an emulator shows the file of the machine below it
    if machine == "aarch64":
        part = words.get("CPU part", "")
        arm = words.get("CPU implementer") == "0x41"
        return _hwcap(), _CORES.get(int(part, 16), part) if arm and part else words.get("model name", ""), ""
    return set(words.get("Features", "").split()).intersection(_SPOKEN), words.get("model name", ""), ""


def _first_processor() -> dict[str, str]:
    """Return the first block of /proc/cpuinfo; a server has 128 of them, and the kernel writes each when it is read."""
    with suppress(OSError), open("/proc/cpuinfo", "rb", buffering=0) as file:  # noqa: PTH123, pathlib is not needed otherwise
        block = file.read(4096).decode(errors="replace").partition("\n\n")[0]
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
    return {}


def _cpuid() -> set[str] | None:
    """Return what CPUID says; None if the C library does not tell."""

    import ctypes  # takes milliseconds, unless numpy has brought it

    try:
        leaf = ctypes.CDLL(None).__getattr__("__x86_get_cpuid_feature_leaf")
    except (OSError, AttributeError):  # musl, or glibc before 2.33
        return None
    leaf.restype, leaf.argtypes = ctypes.POINTER(ctypes.c_uint32), [ctypes.c_uint]  # EAX to EDX come first

    def has(place: tuple[int, int, int]) -> bool:
        index, register, bit = place
        return bool(leaf(index)[register] >> bit & 1)

    return {feature for feature, place in _CPUID.items() if has(_KEPT) and has(place)}


def _hwcap() -> set[str]:
    import ctypes

    try:
        getauxval = ctypes.CDLL(None).getauxval
    except (OSError, AttributeError):
        return set()
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return {feature for feature, (entry, bit) in _HWCAP.items() if getauxval(entry) >> bit & 1}


# macOS, never run

_SYSCTL = {
    "hw.optional.avx1_0": "avx",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.fma": "fma",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512bw": "avx512bw",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_FHM": "asimdfhm",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
}


def _macos(machine: str) -> _Seen:
    import ctypes

    library = ctypes.CDLL(None)

    def ask(name: str) -> bytes:
        value, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
        failed = library.sysctlbyname(name.encode(), value, ctypes.byref(size), None, ctypes.c_size_t(0))
        return b"" if failed else value.raw[: size.value]

    translated = any(ask("sysctl.proc_translated"))
    name = ask("machdep.cpu.brand_string").rstrip(b"\0").decode(errors="replace")
    return (feature for key, feature in _SYSCTL.items() if any(ask(key))), name, "Rosetta" if translated else ""


# Windows, never run

#: Arguments of IsProcessorFeaturePresent. Source: winnt.h.
_PRESENT = {39: "avx", 40: "avx2", 41: "avx512f", 19: "asimd", 43: "asimddp", 46: "sve", 47: "sve2", 66: "i8mm", 67: "asimdhp", 68: "bf16"}


def _windows(machine: str) -> _Seen:
    """Windows tells nothing of FMA, VNNI and AMX; the processor's model decides on them, and so is a feature here."""
    import ctypes

    present = ctypes.CDLL("kernel32").IsProcessorFeaturePresent
    features = {feature for number, feature in _PRESENT.items() if present(number)}
    name = os.environ.get("PROCESSOR_IDENTIFIER", "")
    if machine in ("x86_64", "i686"):
        features.discard("asimd")
        features.add(name.partition(" Stepping")[0].replace(" ", "-").lower() or "model-unknown")
    return features, name, ""
