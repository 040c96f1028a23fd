"""Format c, at length: all test images under sanitizers, a static analyser, the user's way, and another generator as a witness."""

import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import c_code
import numpy as np
import pytest
from once import install_apart, lacking

from exporters.c.export import c_name
from mnist_edge.dataset import Dataset
from mnist_edge.proof.golden import Golden
from mnist_edge.runtimes import c_folder, native, ort, wasm, wasm_build

MODELS = Path(__file__).resolve().parents[2] / "models"

#: The ONNX files of the reference models that format c is made from.
FILES = sorted(f"{path.parent.name}/{path.name}" for path in MODELS.glob("*/*.onnx") if "fp16" not in path.name)

#: One or two networks of each kind, of those that compilers and analysers are quick with.
FEW = [
    *("lenet/lenet.onnx", "lenet/lenet.int8-static.onnx", "lenet5/lenet5.int8-static.onnx", "cnn-small/cnn-small.int8-static.onnx"),
    *("gru/gru.onnx", "resnet-tiny/resnet-tiny.onnx", "vit-cls/vit-cls.int8-static.onnx"),
]

pytestmark = pytest.mark.proof

#: Reads images of 784 bytes and writes their logits. Each block of memory is as large as it has to be, and no larger.
_MAIN = """#include "NAME.h"
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    uint8_t *pixels = malloc(784);
    float *logits = malloc(sizeof(float) * NAME_CLASSES);
    void *workspace = malloc(NAME_WORKSPACE_BYTES);
    while (fread(pixels, 1, 784, stdin) == 784) {
        SMALL_logits(pixels, logits, workspace);
        fwrite(logits, sizeof(float), NAME_CLASSES, stdout);
    }
    const int failed = SMALL_self_test(workspace);
    free(pixels);
    free(logits);
    free(workspace);
    return failed;
}
"""


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def needs(*programs: str) -> None:
    if missing := [program for program in programs if not shutil.which(program)]:
        lacking(f"{', '.join(missing)} not installed; run: apt-get install {' '.join(missing)}")


def in_c(folder: Path, file: str) -> Path:
    """Write the C of a reference model's ONNX file, with the self-test that an export gives it."""
    model, path = file.partition("/")[0], MODELS / file
    precision = "int8-static" if "int8-static" in file else "float32"
    c_code.written(folder / f"{c_name(model)}.c", path, precision, model, Golden.read(path.parent / "golden.npz"))
    return folder / f"{c_name(model)}.c"


def main_of(folder: Path) -> str:
    name = c_folder.read(folder).name
    return _MAIN.replace('"NAME.h"', f'"{name}.h"').replace("SMALL", name).replace("NAME", name.upper())


@pytest.mark.parametrize("file", FILES)
def test_every_network_answers_as_in_onnxruntime(file: str, tmp_path: Path, mnist_test: Dataset) -> None:
    folder = in_c(tmp_path, file)
    images = mnist_test.images if file.startswith("lenet/") else mnist_test.images[:1000]  # all of them are asked at an export
    ours, run = native.load(folder)(images), ort.load(MODELS / file)
    expected = np.concatenate([run(part) for part in np.array_split(images, 20)])
    if "int8" in file and not file.startswith("vit"):
        assert np.array_equal(ours.view(np.uint32), expected.view(np.uint32))
    elif "int8" in file:  # softmax and layer norm are in float, and a byte behind them may round otherwise
        assert (ours.argmax(axis=1) != expected.argmax(axis=1)).sum() <= 10
    else:
        assert np.abs(ours - expected).max() <= 1e-4
        assert np.array_equal(ours.argmax(axis=1), expected.argmax(axis=1))
    if "int8" in file:  # the compiler crashed at one of them
        module = wasm.load_module(wasm_build.build(folder), folder)
        assert np.array_equal(module(images[:100]).view(np.uint32), ours[:100].view(np.uint32))


@pytest.mark.parametrize(
    ("file", "compiler"), [*((file, "gcc") for file in FEW), ("lenet/lenet.onnx", "clang"), ("lenet/lenet.int8-static.onnx", "clang")]
)
def test_sanitizers_find_nothing(file: str, compiler: str, tmp_path: Path, mnist_test: Dataset) -> None:
    """The self-test passes, too."""
    needs(compiler)
    _has_sanitizers(compiler, tmp_path)
    folder = in_c(tmp_path, file)
    sources = sorted(folder.glob("*.c"))
    (tmp_path / "main.c").write_text(main_of(folder))
    flags = ("-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    subprocess.run([compiler, *flags, f"-I{folder}", "-o", tmp_path / "main", tmp_path / "main.c", *sources], check=True)
    images = mnist_test.images[: 10_000 if file.startswith("lenet/") and compiler == "gcc" else 200]
    done = subprocess.run([tmp_path / "main"], input=images.tobytes(), capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    logits = np.frombuffer(done.stdout, np.float32).reshape(len(images), 10)
    assert np.array_equal(logits.view(np.uint32), native.load(folder)(images).view(np.uint32))


def _has_sanitizers(compiler: str, folder: Path) -> None:
    (folder / "nothing.c").write_text("int main(void) { return 0; }\n")
    command = [compiler, "-fsanitize=address,undefined", "-o", folder / "nothing", folder / "nothing.c"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        lacking(f"{compiler} has no sanitizers here; run: apt-get install libclang-rt-dev")


def test_a_sanitizer_notices_a_workspace_that_is_too_small(tmp_path: Path) -> None:
    folder = in_c(tmp_path, "lenet/lenet.int8-static.onnx")
    header = folder / "lenet.h"
    small = re.sub(r"(WORKSPACE_BYTES) (\d+)", lambda found: f"{found[1]} {int(found[2]) - 4}", header.read_text(), count=1)
    header.write_text(small)
    (tmp_path / "main.c").write_text(main_of(folder))
    flags = ("-std=c99", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    subprocess.run(["gcc", *flags, f"-I{folder}", "-o", tmp_path / "main", tmp_path / "main.c", *folder.glob("*.c")], check=True)
    done = subprocess.run([tmp_path / "main"], input=b"\xff" * 784, capture_output=True, check=False)
    assert b"heap-buffer-overflow" in done.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang", "g++", "clang++"])
@pytest.mark.parametrize("file", FEW)
def test_compilers_have_nothing_to_say_about_any_network(file: str, compiler: str, tmp_path: Path) -> None:
    needs(compiler)
    folder = in_c(tmp_path, file)
    language = ("-x", "c++", "-std=c++11") if "++" in compiler else ("-std=c99",)
    for source in folder.glob("*.c"):
        done = c_code.compiled(source, tmp_path / "x.o", "-O2", *language, *c_code.STRICT, compiler=compiler)
        assert (done.returncode, done.stderr) == (0, "")


def cppcheck(folder: Path, *flags: str) -> tuple[int, str]:
    """Analyse a network without its weights, with which it takes minutes; the arrays keep their lengths."""
    needs("cppcheck")
    for source in folder.glob("*.c"):
        source.write_text(re.sub(r"(static const \w+ \w+\[\d+\] = )\{[^}]*\};", r"\1{0};", source.read_text()))
    checks = ("--enable=warning,performance,portability", "--std=c99", "--platform=unix32", "--error-exitcode=1", "--quiet")
    done = subprocess.run(["cppcheck", *checks, *flags, f"-I{folder}", *folder.glob("*.c")], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


#: As on a plain chip, and as GCC compiles it for this computer.
SEEN_AS = {"plain": (), "x86": ("-D__GNUC__=12", "-D__SSE2__=1", "-D__AVX__=1", "-D__AVX2__=1")}


@pytest.mark.parametrize("seen_as", SEEN_AS)
@pytest.mark.parametrize("file", FEW)
def test_cppcheck_has_nothing_to_say(file: str, seen_as: str, tmp_path: Path) -> None:
    assert cppcheck(in_c(tmp_path, file), *SEEN_AS[seen_as]) == (0, "")


def test_cppcheck_would_say_something(tmp_path: Path) -> None:
    folder = in_c(tmp_path, "lenet/lenet.int8-static.onnx")
    source = folder / "lenet.c"
    text = source.read_text()
    assert text.count("i < LENET_CLASSES") == 1
    source.write_text(text.replace("i < LENET_CLASSES", "i <= LENET_CLASSES"))
    code, said = cppcheck(folder)
    assert code == 1 and "out of bounds" in said


def test_a_cmake_project_uses_the_folder_as_its_readme_says(tmp_path: Path) -> None:
    needs("cmake", "make")
    folder = in_c(tmp_path / "app", "lenet/lenet.int8-static.onnx")
    readme = " ".join((folder / "README.md").read_text().split())
    (line,) = re.findall(r"With CMake: `(add_subdirectory\(.*?\))`, then `(target_link_libraries\(.*?\))`", readme)
    assert line[0] == "add_subdirectory(lenet.c)"
    app = folder.parent
    (app / "main.c").write_text(
        '#include "lenet.h"\n#include <stdio.h>\n'
        "static uint32_t workspace[(LENET_WORKSPACE_BYTES + 3) / 4];\nstatic uint8_t pixels[784];\n"
        'int main(void) { printf("%d %d\\n", lenet_self_test(workspace), lenet_predict(pixels, workspace)); return 0; }\n'
    )
    (app / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\nset(CMAKE_C_FLAGS_RELEASE -O2)\nadd_executable(app main.c)\n"
        f"{line[0]}\n{line[1]}\ntarget_link_libraries(app PRIVATE lenet_self_test)\n"
    )
    for command in (["cmake", "-S", app, "-B", app / "build", "-DCMAKE_BUILD_TYPE=Release"], ["cmake", "--build", app / "build"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "warning" not in done.stdout + done.stderr, done.stdout + done.stderr
    passed, answer = subprocess.run([app / "build" / "app"], capture_output=True, text=True, check=True).stdout.split()
    black = native.load(folder)(np.zeros((1, 1, 28, 28), np.uint8))
    assert (passed, int(answer)) == ("0", black.argmax())


#: A board for the Arduino tools: a bare Cortex-M4, with flags as Arduino's Arm cores have them, and its core, which is enough to compile and link
#: the example, and no more.
_BOARD = {
    "platform.txt": """tools.ctags.cmd.path=arduino-ctags
tools.ctags.pattern="{cmd.path}" -u --language-force=c++ -f - --c++-kinds=svpf --fields=KSTtzns --line-directives "{source_file}"
""",
    "tests/arm/boards.txt": "m4.name=Cortex-M4\nm4.build.core=bare\nm4.build.board=M4\n",
    "tests/arm/platform.txt": """name=Arm without a board
version=1
flags=-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -Os -Wall -Wextra -Werror -ffunction-sections -fdata-sections
c++=arm-none-eabi-g++ {flags} -std=gnu++14 -fno-exceptions -fno-rtti
recipe.preproc.macros={c++} {includes} -w -x c++ -E -CC "{source_file}" -o "{preprocessed_file_path}"
recipe.c.o.pattern=arm-none-eabi-gcc {flags} -std=gnu11 {includes} -c "{source_file}" -o "{object_file}"
recipe.cpp.o.pattern={c++} {includes} -c "{source_file}" -o "{object_file}"
recipe.ar.pattern=arm-none-eabi-ar rcs "{archive_file_path}" "{object_file}"
link=arm-none-eabi-gcc {flags} -nostdlib -Wl,--gc-sections -Wl,-e,start
recipe.c.combine.pattern={link} -o "{build.path}/app.elf" {object_files} "{archive_file_path}" -lgcc
""",
    "tests/arm/cores/bare/Arduino.h": """#pragma once
#include <stdint.h>
#include <stddef.h>
struct Port {
    void begin(unsigned long) {}
    operator bool() const { return true; }
    template <typename T> void println(T) {}
    size_t readBytes(char *, size_t n) { return n; }
};
extern Port Serial;
void setup();
void loop();
""",
    "tests/arm/cores/bare/core.cpp": """#include <Arduino.h>
Port Serial;
extern "C" void start() { setup(); for (;;) loop(); }
extern "C" void *memcpy(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}
""",
}


def arduino_build(sketch: Path, libraries: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Build a sketch into ``build/app.elf`` with Arduino's own builder, which finds libraries and prepares the sketch as the IDE does."""
    needs("arduino-builder", "arduino-ctags", "arm-none-eabi-gcc", "arm-none-eabi-g++")
    for file, text in _BOARD.items():
        path = scratch / "hardware" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (scratch / "build").mkdir()
    where = ("-hardware", scratch / "hardware", "-tools", scratch / "hardware", "-libraries", libraries, "-build-path", scratch / "build")
    command = ["arduino-builder", "-compile", *where, "-fqbn", "tests:arm:m4", sketch]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("file", ["lenet/lenet.int8-static.onnx", "lenet/lenet.onnx", "gru/gru.onnx"])
def test_the_arduino_example_builds_for_a_chip_without_any_other_library(file: str, tmp_path: Path) -> None:
    """arduino-cli is in no package, and Debian's only core is for 8-bit chips; its builder takes a board of our own."""
    folder = in_c(tmp_path / "libraries", file)
    name = c_folder.read(folder).name
    sketch = folder / "examples" / name / f"{name}.ino"
    done = arduino_build(sketch, folder.parent, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    symbols = subprocess.run(
        ["arm-none-eabi-nm", tmp_path / "build" / "app.elf"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {f"{name}_predict", f"{name}_self_test"} <= set(symbols)
    properties = dict(line.partition("=")[::2] for line in (folder / "library.properties").read_text().splitlines())
    assert {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "architectures", "includes"} <= set(properties)
    assert properties["includes"] == f"{name}.h" and all(properties.values())


def test_the_arduino_builder_would_notice_what_is_wrong(tmp_path: Path) -> None:
    folder = in_c(tmp_path / "libraries", "lenet/lenet.int8-static.onnx")
    (folder / "lenet_self_test.c").unlink()
    done = arduino_build(folder / "examples" / "lenet" / "lenet.ino", folder.parent, tmp_path)
    assert done.returncode and "undefined reference to `lenet_self_test'" in done.stderr


@pytest.fixture(scope="module")
def other_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with emx-onnx-cgen, an ONNX to C generator by others, which shares no code with ours."""
    folder = tmp_path_factory.mktemp("emx") / "environment"
    done = install_apart(folder, "emx-onnx-cgen==1.4.0")
    if done.returncode:
        lacking(f"emx-onnx-cgen cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return folder / "bin" / "emx-onnx-cgen"


@pytest.mark.parametrize("file", ["lenet/lenet.onnx", "lenet/lenet.int8-static.onnx", "cnn-small/cnn-small.int8-static.onnx"])
def test_the_code_of_another_generator_answers_the_same_digits(
    file: str, other_generator: Path, tmp_path: Path, mnist_test: Dataset
) -> None:
    output = tmp_path / "witness.c"
    size = ("--input-dim", "batch=1", "--large-weight-threshold", "0", "--large-temp-threshold", "0")
    done = subprocess.run([other_generator, "compile", *size, MODELS / file, output], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (function,) = re.findall(r"^(?:\w+ )?void (\w+)\(const uint8_t pixels.*float logits", output.read_text(), re.MULTILINE)
    (tmp_path / "main.c").write_text(
        '#include "witness.c"\n#include <stdio.h>\nstatic uint8_t pixels[784];\nstatic float logits[10];\n'
        "int main(void) { while (fread(pixels, 1, 784, stdin) == 784) { "
        f"{function}((void *)pixels, (void *)logits); fwrite(logits, 4, 10, stdout); }} return 0; }}\n"
    )
    subprocess.run(["gcc", "-O3", "-w", "-o", tmp_path / "main", tmp_path / "main.c", "-lm"], check=True)
    done_too = subprocess.run([tmp_path / "main"], input=mnist_test.images.tobytes(), capture_output=True, check=True)
    theirs = np.frombuffer(done_too.stdout, np.float32).reshape(-1, 10)
    ours = native.load(in_c(tmp_path, file))(mnist_test.images)
    assert np.array_equal(theirs.argmax(axis=1), ours.argmax(axis=1))
    assert np.abs(theirs - ours).max() < (1e-3 if "int8" not in file else 0.5)


def test_the_wheel_and_the_sdist_hold_kernels_and_templates(tmp_path: Path) -> None:
    root, package = MODELS.parent, MODELS.parent / "exporters" / "c"
    expected = {path.relative_to(root).as_posix() for part in ("kernels", "templates") for path in (package / part).iterdir()}
    assert len(expected) > 20
    left_out = shutil.ignore_patterns(".git", ".venv", "build", "tests", "docs", "__pycache__")
    copy = Path(shutil.copytree(root, tmp_path / "copy", ignore=left_out))
    done = install_apart(tmp_path / "hatch", "hatchling>=1.27")
    assert done.returncode == 0, done.stderr
    build = [tmp_path / "hatch" / "bin" / "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", tmp_path / "made"]
    done = subprocess.run(build, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = (tmp_path / "made").glob("*.whl"), (tmp_path / "made").glob("*.tar.gz")
    assert expected <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        assert expected <= {name.partition("/")[2] for name in archive.getnames()}
