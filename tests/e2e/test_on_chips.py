"""LeNet in C on every emulated chip: the very logits that the computer's own C gives, and for int8 those of onnxruntime; what it takes there."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from once import lacking, once, unchanged

from mnist_edge import store
from mnist_edge.common import logits
from mnist_edge.common.errors import MissingExtraError, ModelError
from mnist_edge.dataset import Dataset
from mnist_edge.runtimes import RUNTIMES, Runtime, machines
from mnist_edge.runtimes import load_artifact as load
from mnist_edge.runtimes.chips import targets

pytestmark = pytest.mark.proof

LENET = Path(__file__).resolve().parents[2] / "models" / "lenet"
CHIPS = [RUNTIMES[name] for name in targets.TARGETS]

#: Float arithmetic without a floating-point unit takes 50 million instructions an image and more.
SOFT_FLOAT = ("cortex-m0", "cortex-m3", "riscv32")


@pytest.fixture(scope="module", autouse=True)
def _emulators() -> None:
    try:
        machines.set_up(("qemu", "qemu-system"))
        for runtime in CHIPS:
            runtime.require()
    except MissingExtraError as error:
        lacking(str(error))


def _folders(place: Path) -> None:
    """Write LeNet in C, float32 and int8, by the exporter itself."""
    from exporters.c.export import export
    from exporters.registry import Target
    from mnist_edge.proof.verification import read_golden

    model = store.find(LENET)
    for precision, source in (("float32", "lenet.onnx"), ("int8-static", "lenet.int8-static.onnx")):
        target = Target(place / precision, "lenet", "lenet", model.manifest.classes, "MIT", precision, golden=read_golden(model))
        export(LENET / source, target)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "lenet-in-c", _folders)


def bits(rows: np.ndarray) -> np.ndarray:
    return rows.view(np.uint32)


@pytest.mark.parametrize("runtime", CHIPS, ids=lambda runtime: runtime.name)
def test_int8_gives_onnxruntimes_logits_bit_for_bit(runtime: Runtime, folders: Path, mnist_test: Dataset) -> None:
    """All test images on one chip, and a thousand on the others: mnist-edge verify asks the others about all, in minutes each."""
    images = mnist_test.images if runtime.name == "cortex-m4" else mnist_test.images[:1000]
    with unchanged(folders):
        run = runtime.load(folders / "int8-static")
        answers = run(images)
    onnx = RUNTIMES["ort"].load(LENET / "lenet.int8-static.onnx")(images)
    assert len(answers) == len(images) and np.array_equal(bits(answers), bits(onnx))
    figures = logits.figures(run)
    assert figures["flash_bytes"] > 61_706 and figures["ram_bytes"] - figures["stack_bytes"] > 1000
    if runtime.name == "cortex-m4":  # the figures; QEMU's counts do not depend on how busy the computer is
        assert figures["instructions"] <= 900_000 and figures["flash_bytes"] <= 66_000 and figures["ram_bytes"] <= 3000
        fresh = runtime.load(folders / "int8-static")
        fresh(images[:8])  # the counter interrupts an image in every 800; what that puts on the stack is not the network's
        assert figures["stack_bytes"] == logits.figures(fresh)["stack_bytes"]


@pytest.mark.parametrize("runtime", CHIPS, ids=lambda runtime: runtime.name)
def test_float32_gives_the_same_bits_everywhere(runtime: Runtime, folders: Path, mnist_test: Dataset) -> None:
    images = mnist_test.images[: 50 if runtime.name in SOFT_FLOAT else 1000]  # an export asks a Cortex-M4 about all of them
    run = runtime.load(folders / "float32")
    answers = run(images)
    assert np.array_equal(bits(answers), bits(RUNTIMES["native"].load(folders / "float32")(images)))
    onnx = RUNTIMES["ort"].load(LENET / "lenet.onnx")(images)
    assert np.abs(answers - onnx).max() <= 1e-4 and np.array_equal(answers.argmax(1), onnx.argmax(1))
    if runtime.name == "cortex-m4":
        assert logits.figures(run)["ram_bytes"] <= 9500


def test_what_an_image_takes_is_the_same_each_time(folders: Path, mnist_test: Dataset) -> None:
    for name in ("cortex-m0", "cortex-m4", "riscv32"):
        first, second = RUNTIMES[name].load(folders / "int8-static"), RUNTIMES[name].load(folders / "int8-static")
        first(mnist_test.images[:40])
        second(mnist_test.images[:40])
        assert logits.figures(first) == logits.figures(second) != {}


def changed(folders: Path, place: Path, old: str, new: str) -> Path:
    """Return a copy of the int8 folder in which one text of the C file is another."""
    source = (folders / "int8-static" / "lenet.c").read_text()
    assert old in source
    (place / "network").mkdir()
    (place / "network" / "lenet.c").write_text(source.replace(old, new, 1))
    (place / "network" / "lenet.h").write_text((folders / "int8-static" / "lenet.h").read_text())
    return place / "network"


BODY = "uint8_t *const memory = (uint8_t *)workspace;"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("#include <stdint.h>", "#include <stdint.h>\nint damaged(", "cannot be compiled for cortex-m4: .*lenet.c.*error"),
        ("lenet_logits(", "lenet_logit(", "cannot be (compiled|linked) for cortex-m4"),
        (BODY, f"static int calls; calls++; {BODY}", "cannot be linked for cortex-m4: .*it keeps variables between calls"),
    ],
)
def test_damaged_c_is_refused(old: str, new: str, words: str, folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        RUNTIMES["cortex-m4"].load(changed(folders, tmp_path, old, new))


WRITES_NOWHERE, RUNS_ON = "*(volatile int *)0x90000000 = 1;", "for (volatile int i = 0; ; i++) {}"
DEEP = "volatile char deep[20000]; for (int i = 19999; i >= 0; i--) deep[i] = 1;"


@pytest.mark.parametrize(
    ("chip", "body", "words"),
    [
        ("cortex-m4", WRITES_NOWHERE, "on an emulated Cortex-M4: ended with code 1: the chip stopped at a fault"),
        ("cortex-m0", DEEP, "ended with code 1: the chip stopped at a fault"),
        ("cortex-m4", DEEP, "ended with code 1: the network needs more stack than there is"),
        ("riscv32", DEEP, "ended with code 1: the network needs more stack than there is"),
        ("cortex-m4", RUNS_ON, "did not answer within 3 seconds"),
    ],
)
def test_a_network_that_ends_the_chip_is_an_error_in_words(
    chip: str, body: str, words: str, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RUNTIMES[chip].load(changed(folders, tmp_path, BODY, f"{body}\n{BODY}"))
    monkeypatch.setattr(run, "_limit", 3.0 if "seconds" in words else 20.0)
    with pytest.raises(ModelError, match=words):
        run(np.zeros((1, 1, 28, 28), np.uint8))
    with pytest.raises(ModelError, match="has ended"):
        run(np.zeros((1, 1, 28, 28), np.uint8))


def test_a_network_that_does_not_fit_the_microbit_is_refused_with_the_figures(folders: Path, tmp_path: Path) -> None:
    weights = "static const volatile uint8_t weights[200000] = {1};\nvoid lenet_logits("
    large = changed(folders, tmp_path, "void lenet_logits(", weights)
    text = (large / "lenet.c").read_text()
    (large / "lenet.c").write_text(text.replace(BODY, f"(void)weights[workspace == 0]; {BODY}", 1))
    with pytest.raises(
        ModelError, match=r"too large for Cortex-M0 .*needs 2\d\d,\d{3} bytes of flash and [\d,]+ bytes of RAM \(4,096 of it stack\)"
    ):
        RUNTIMES["cortex-m0"].load(large)
    assert RUNTIMES["cortex-m3"].load(large)


def test_a_proof_on_a_chip_says_where_and_what_it_took(models: Path, run_command: Command) -> None:
    done = run_command("export", "lenet", "--format", "c", "--data", "drawn", "--models-dir", models)
    model = store.find("lenet", models)
    (proof,) = [proof for one in model.artifacts for proof in one.proofs if proof.runtime == "cortex-m4"]
    assert proof.platform is not None and (proof.platform["system"], proof.platform["machine"]) == ("bare metal", "Cortex-M4")
    assert proof.platform["emulated"].startswith("qemu ") and proof.version.startswith("zig ")
    assert proof.measured["instructions"] > 400_000 and 9500 >= proof.measured["ram_bytes"] > proof.measured["stack_bytes"] > 0
    words = f"{proof.measured['ram_bytes']:,} bytes of RAM"
    assert words in done.stdout + done.stderr and words in run_command("show", "lenet", "--models-dir", models).stdout
    artifact = next(one for one in model.artifacts if one.format == "c")
    source = model.path(artifact) / "lenet.c"
    source.write_text(source.read_text().replace("1", "2", 1))
    with pytest.raises(ModelError, match=r"lenet\.c"):
        load(model, artifact, runtime=RUNTIMES["cortex-m4"])
