"""Sets up the parts of an emulated machine in a folder, without root and without changing anything outside it.

Three parts: ``qemu`` (Debian's qemu-user, statically linked), ``qemu-system`` (its emulators of whole chips, with the libraries that they need) and
``aarch64`` (Debian's Python for 64-bit Arm, and onnxruntime's wheel for it).
apt downloads Debian's packages with a separate state, so that it checks their signatures and works out what they need. pip downloads the wheels.
A part is made aside and moved into place in one step. It can be copied to another folder or Linux machine unchanged.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from mnist_edge.common import files, locks
from mnist_edge.common.errors import MissingExtraError

#: The Debian release: its qemu-user is 10.0 (7.2, of the one before, dies in onnxruntime's import), and its Python has wheels.
SUITE = "trixie"

#: The variable that names a folder for the parts instead of the usual places.
ENVIRONMENT = "MNIST_EDGE_MACHINES_DIR"

#: The emulated Python, within its part.
PYTHON = "root/usr/bin/python3.13"

_PACKAGES = ("python3.13-minimal", "libpython3.13-stdlib", "libstdc++6")

#: glibc up to the release's own, 2.41; from the oldest that has wheels for this machine.
_WHEELS = ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 42)))

#: Of qemu-user's some 460 MB.
_PROGRAMS = ("qemu-aarch64", "qemu-riscv64", "qemu-x86_64")

#: The emulators of chips, and the packages that they are in.
_SYSTEM_PROGRAMS = ("qemu-system-arm", "qemu-system-riscv32")
_SYSTEM_PACKAGES = ("qemu-system-arm", "qemu-system-riscv")

_ABOUT = "about.json"

Tell = Callable[[str], object]


def clone() -> Path | None:
    """Return the clone of this project that this file is in; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "Makefile").is_file() and (root / "pyproject.toml").is_file() else None


def places() -> list[Path]:
    """Return the folders that may have the parts, best first: what the environment names, else the clone's own and the user's cache."""
    if named := os.environ.get(ENVIRONMENT):
        return [Path(named)]
    root, cache = clone(), files.cache_dir()
    return [*([root / "build" / "machines"] if root else []), *([cache / "machines"] if cache else [])]


def find(part: str) -> Path | None:
    """Return the folder of a part, or None if it is not set up."""
    return next((place / part for place in places() if (place / part / _ABOUT).is_file()), None)


def about(folder: Path) -> dict[str, Any]:
    """Return what a part reports about itself: ``{"version": "10.0.13"}`` for qemu, ``onnxruntime`` and ``numpy`` for aarch64; empty without it."""
    with suppress(OSError, ValueError):
        told = json.loads((folder / _ABOUT).read_bytes())
        if isinstance(told, dict):
            return told
    return {}


def set_up(parts: Sequence[str], folder: Path | None = None, tell: Tell = lambda line: None) -> Path:
    """Make `parts`, in order, in `folder` or in the best of `places`, and return that folder. Existing parts are left unchanged.

    A machine's part is made again if another release of onnxruntime is installed here now, because the two are compared.
    `tell` gets a line before each download. Raises MissingExtraError if the machine lacks apt or pip, or if they fail; OSError.
    """
    if folder is None:
        if not places():
            raise MissingExtraError(f"there is no home folder to put an emulated machine in; name a folder in {ENVIRONMENT}")
        folder = places()[0]
    folder.mkdir(parents=True, exist_ok=True)
    with locks.locked(folder, wait=True):
        for part in parts:
            told = about(folder / part)
            if _is_made(part, told):
                continue
            with files.folder_aside(folder, part) as aside:
                told = _aarch64(aside, folder / "qemu", tell) if part == "aarch64" else _MAKERS[part](aside, tell)
                (aside / _ABOUT).write_text(json.dumps(told) + "\n")
                _replace(aside, folder / part)
    return folder


def _is_made(part: str, told: dict[str, Any]) -> bool:
    if part == "aarch64":
        return told.get("onnxruntime") == _onnxruntime()
    return set(_PROGRAMS if part == "qemu" else _SYSTEM_PROGRAMS) <= set(told.get("programs", ()))  # an older release had fewer


def system_emulator(program: str) -> tuple[str, ...] | None:
    """Return the command that starts an emulator of chips: its own loader with its own libraries. None if it is not set up."""
    part = find("qemu-system")
    if part is None or not (part / "bin" / program).is_file():
        return None
    return (str(part / "lib" / _loader()), "--library-path", str(part / "lib"), str(part / "bin" / program))


def _loader() -> str:
    return {"aarch64": "ld-linux-aarch64.so.1"}.get(platform.machine(), "ld-linux-x86-64.so.2")


def _replace(aside: Path, target: Path) -> None:
    old = files.unused(target.with_name(f".{target.name}.old"))
    with suppress(FileNotFoundError):
        os.rename(target, old)
    os.rename(aside, target)
    shutil.rmtree(old, ignore_errors=True)


def _onnxruntime() -> str:
    return version("onnxruntime").partition("+")[0]


def _architecture() -> str:
    """Return Debian's name of this machine. Raises MissingExtraError where its QEMU does not run."""
    here = platform.machine()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(here)
    if sys.platform != "linux" or architecture is None:
        raise MissingExtraError(f"qemu-user runs on Linux, on x86_64 and aarch64; this is {platform.system()} {here}")
    return architecture


def _qemu(folder: Path, tell: Tell) -> dict[str, Any]:
    wanted = {f"usr/bin/{name}": name for name in _PROGRAMS} | {"usr/share/doc/qemu-user/copyright": "copyright"}
    for package in _debian(folder / "apt", _architecture(), ["qemu-user"], tell):
        _unpack(package, lambda member: folder / wanted[member] if member in wanted else None)
    shutil.rmtree(folder / "apt")
    return {"version": _run([folder / "qemu-aarch64", "--version"], "qemu").split()[2], "programs": list(_PROGRAMS)}


def _qemu_system(folder: Path, tell: Tell) -> dict[str, Any]:
    for name in ("bin", "lib", "copyright"):
        (folder / name).mkdir()

    def place(member: str) -> Path | None:
        path = PurePosixPath(member)
        if path.parts[:2] == ("usr", "bin") and path.name in _SYSTEM_PROGRAMS:
            return folder / "bin" / path.name
        if path.parts[0] in ("usr", "lib") and "lib" in path.parts[:2] and ".so" in path.name and len(path.parts) <= 4:
            return folder / "lib" / path.name
        if path.name == "copyright" and path.parts[:3] == ("usr", "share", "doc"):
            return folder / "copyright" / path.parts[3]
        return None

    for package in _debian(folder / "apt", _architecture(), _SYSTEM_PACKAGES, tell):
        _unpack(package, place)
    shutil.rmtree(folder / "apt")
    command: list[str | Path] = [
        folder / "lib" / _loader(),
        "--library-path",
        folder / "lib",
        folder / "bin" / _SYSTEM_PROGRAMS[0],
        "--version",
    ]
    return {"version": _run(command, "qemu").split()[3], "programs": list(_SYSTEM_PROGRAMS)}


_MAKERS: dict[str, Callable[[Path, Tell], dict[str, Any]]] = {
    "qemu": lambda folder, tell: _qemu(folder, tell),
    "qemu-system": lambda folder, tell: _qemu_system(folder, tell),
}


def _unpack(package: Path, place: Callable[[str], Path | None]) -> None:
    """Unpack those members of a Debian package that `place` gives a path for: files, and links to files in the same folder."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacked:
        assert unpacked.stdout is not None
        with tarfile.open(fileobj=unpacked.stdout, mode="r|") as members:
            for member in members:
                target = place(member.name.removeprefix("./")) if member.isfile() or member.issym() else None
                if target is None or target.exists() or target.is_symlink():
                    continue
                if member.issym():
                    if PurePosixPath(member.linkname).name == member.linkname:
                        target.symlink_to(member.linkname)
                elif data := members.extractfile(member):
                    target.write_bytes(data.read())
                    target.chmod(member.mode)
        unpacked.stdout.read()  # read past the last member, else dpkg-deb complains


def _aarch64(folder: Path, qemu: Path, tell: Tell) -> dict[str, str]:
    root, packages = folder / "root", folder / "packages"
    root.mkdir()
    (root / "lib").symlink_to("usr/lib")
    for package in _debian(folder / "apt", "arm64", _PACKAGES, tell):
        _run(["dpkg-deb", "--extract", package, root], "dpkg-deb")
    shutil.rmtree(folder / "apt")
    wanted = f"onnxruntime=={_onnxruntime()}"
    tell(f"downloading {wanted} and numpy for aarch64 by pip, some 40 MB")
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:", "--implementation", "cp"]
    options += ["--python-version", PYTHON.partition("python")[2], *(word for name in _WHEELS for word in ("--platform", name))]
    _run([sys.executable, "-m", "pip", "install", *options, "--target", packages, wanted, "numpy"], "pip")
    tell("trying it; this compiles its modules")
    script = "import json, sys; sys.path.insert(0, sys.argv[1]); import numpy, onnxruntime; "
    script += "print(json.dumps({'onnxruntime': onnxruntime.__version__, 'numpy': numpy.__version__}))"
    command: list[str | Path] = [qemu / "qemu-aarch64", "-cpu", "cortex-a72", "-L", root, folder / PYTHON, "-I", "-c", script, packages]
    told: dict[str, str] = json.loads(_run(command, "the emulated Python").splitlines()[-1])
    return told


def _debian(work: Path, architecture: str, packages: Sequence[str], tell: Tell) -> list[Path]:
    """Download Debian packages and their dependencies, and return the files. Nothing is installed, and apt's own state is not changed."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise MissingExtraError(
                f"an emulated machine is made of Debian's packages, and {program} is not on this machine; "
                f"make it on Debian or Ubuntu, copy the folder, and name it in {ENVIRONMENT}"
            )
    mirror, key = _mirror(), Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    source, archives = work / "debian.sources", work / "archives"
    for folder in (work / "lists" / "partial", archives / "partial"):
        folder.mkdir(parents=True)
    (work / "status").touch()  # of no installed package
    signed = f"Signed-By: {key}\n" if key.exists() else ""
    source.write_text(f"Types: deb\nURIs: {mirror}\nSuites: {SUITE}\nComponents: main\n{signed}")
    options = {
        "Dir::State": work,
        "Dir::State::Lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::Archives": archives,
        "Dir::Etc::SourceList": source,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",  # another user may not be allowed into this folder
        "APT::Update::Post-Invoke-Success": "",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "true",
    }
    apt = ["apt-get", "-qq", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    _run([*apt, "update"], "apt-get")
    listed = _run([*apt, "install", "--print-uris", *packages], "apt-get").splitlines()
    size = sum(int(line.split()[2]) for line in listed) / 1e6
    tell(f"downloading {len(listed)} package{'s' if len(listed) > 1 else ''} of Debian {SUITE}, {size:.0f} MB, from {mirror}")
    _run([*apt, "install", "--yes", "--download-only", *packages], "apt-get")
    return sorted(archives.glob("*.deb"))


def _mirror() -> str:
    """Return the Debian mirror that this machine's apt uses, or Debian's general one."""
    listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], "apt-get").split()
    return next((uri for uri in listed if uri.rstrip("/").endswith("/debian")), "http://deb.debian.org/debian").rstrip("/")


def _run(command: Sequence[str | Path], what: str) -> str:
    """Return the output of a program. Raises MissingExtraError with the last line of its complaint if it fails."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith(("E:", "ERROR:"))] or said or [f"exit code {done.returncode}"]
        raise MissingExtraError(f"an emulated machine cannot be made: {what}: {errors[-1].strip()}")
    return done.stdout
