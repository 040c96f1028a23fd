"""Format c: networks that users may have answer as onnxruntime has it, and what there is no kernel for is refused by its name."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import c_code
import numpy as np
import pytest
from c_networks import RandomNetwork
from onnx import TensorProto, helper

from mnist_edge.common.errors import ExportError


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


RNG = np.random.default_rng(0)


def numbers(*shape: int, size: float = 0.1) -> np.ndarray:
    return (RNG.normal(size=shape) * size).astype(np.float32)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    names = outputs.split()
    return helper.make_node(operator, inputs.split(), names, name=f"{names[0]}/{operator}", **attributes)


FLAT = node("Flatten", "ink", "flat", axis=1)


def last(size: int, tensor: str = "f") -> tuple[Any, dict[str, Any]]:
    return node("Gemm", f"{tensor} last_w last_b", "logits", transB=1), {"last_w": numbers(10, size), "last_b": numbers(10)}


def case(*nodes: Any, size: int = 0, **weights: Any) -> tuple[list[Any], dict[str, Any]]:
    """Nodes and weights; with `size`, tensor f of so many numbers goes into a last layer."""
    if not size:
        return list(nodes), weights
    end, more = last(size)
    return [*nodes, end], weights | more


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


#: Each of the first seven was answered wrongly, or was not C, when the tests were written.
ANSWERED = {
    "a flattened image becomes an image of single pixels": case(
        node("Conv", "ink w b", "c", kernel_shape=[3, 3], strides=[2, 2]),
        node("Reshape", "c s", "r"),
        node("Conv", "r v", "d", kernel_shape=[1, 1]),
        node("Flatten", "d", "logits", axis=1),
        w=numbers(4, 1, 3, 3),
        b=numbers(4),
        s=whole(-1, 676, 1, 1),
        v=numbers(10, 676, 1, 1),
    ),
    "a flattened image becomes a row": case(
        node("Conv", "ink w b", "c", kernel_shape=[3, 3], strides=[2, 2]),
        node("Reshape", "c s", "r"),
        node("Conv", "r v", "d", kernel_shape=[1, 9], strides=[1, 70]),
        node("Flatten", "d", "logits", axis=1),
        w=numbers(4, 1, 3, 3),
        b=numbers(4),
        s=whole(-1, 1, 1, 676),
        v=numbers(1, 1, 1, 9),
    ),
    "the logits are a part of something": case(
        FLAT,
        node("Gemm", "flat w b", "twelve", transB=1),
        node("Slice", "twelve s e a", "logits"),
        w=numbers(12, 784),
        b=numbers(12),
        s=whole(2),
        e=whole(12),
        a=whole(1),
    ),
    "the logits are the first of something": case(
        FLAT,
        node("Gemm", "flat w b", "twelve", transB=1),
        node("Slice", "twelve s e a", "logits"),
        w=numbers(12, 784),
        b=numbers(12),
        s=whole(0),
        e=whole(10),
        a=whole(1),
    ),
    "one column, counted from the end": case(
        node("Gather", "ink i", "column", axis=-1), node("Flatten", "column", "f", axis=1), size=28, i=np.array(-14)
    ),
    "a bias of one number": case(FLAT, node("Gemm", "flat w b", "logits", transB=1), w=numbers(10, 784), b=numbers(1, size=3)),
    "layers with a number for a name": case(
        helper.make_node("Flatten", ["ink"], ["flat"], axis=1, name="0/Flatten"),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], transB=1, name="1/Gemm"),
        w=numbers(10, 784),
        b=numbers(10),
    ),
    "weights too small for a normal float": case(
        FLAT, node("Gemm", "flat w", "logits", transB=1), w=np.where(RNG.random((10, 784)) < 0.5, numbers(10, 784), np.float32(1e-41))
    ),
    "channels last in the middle": case(
        node("Conv", "ink w", "c", kernel_shape=[3, 3], strides=[3, 3]),
        node("Transpose", "c", "t", perm=[0, 2, 3, 1]),
        node("Flatten", "t", "f", axis=1),
        size=324,
        w=numbers(4, 1, 3, 3),
    ),
    "a tensor that is used twice": case(
        node("Conv", "ink w", "c", kernel_shape=[3, 3]),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "p", "g"),
        node("GlobalAveragePool", "r", "h"),
        node("Concat", "g h", "both", axis=1),
        node("Flatten", "both", "f", axis=1),
        size=10,
        w=numbers(5, 1, 3, 3),
    ),
    "the logits are used once more": case(
        FLAT, node("Gemm", "flat w", "g", transB=1), node("Sigmoid", "g", "s"), node("Mul", "g s", "logits"), w=numbers(10, 784)
    ),
    "filters of many weights, over images of odd sizes, and a sum around them": case(
        node("Conv", "ink w", "c", kernel_shape=[5, 5], strides=[4, 4], pads=[2] * 4),
        node("Conv", "c v b", "d", kernel_shape=[3, 3], pads=[1] * 4),
        node("Add", "d c", "a"),
        node("Relu", "a", "r"),
        node("Conv", "r u", "o", kernel_shape=[3, 3], strides=[2, 1], pads=[0, 1, 1, 1]),
        node("Flatten", "o", "f", axis=1),
        size=420,
        w=numbers(90, 1, 5, 5),
        v=numbers(90, 90, 3, 3, size=0.03),
        b=numbers(90),
        u=numbers(20, 90, 3, 3, size=0.03),
    ),
    "windows of 2 x 2, at the edge and within": case(
        node("Conv", "ink w b", "c", kernel_shape=[3, 5], pads=[1, 2, 1, 2]),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p v", "d", kernel_shape=[3, 3], strides=[1, 2]),
        node("AveragePool", "d", "a", kernel_shape=[2, 2], strides=[3, 1]),
        node("Flatten", "a", "f", axis=1),
        size=400,
        w=numbers(6, 1, 3, 5),
        b=numbers(6),
        v=numbers(20, 6, 3, 3),
    ),
    "logits that are an image of one pixel": case(
        node("Conv", "ink w b", "c", kernel_shape=[28, 28]),
        node("Squeeze", "c a", "logits"),
        w=numbers(10, 1, 28, 28),
        b=numbers(10),
        a=whole(2, 3),
    ),
    "attention": case(
        node("Reshape", "ink s", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 1]),
        node("MatMul", "r t", "m"),
        node("Softmax", "m", "q", axis=-1),
        node("MatMul", "q r", "o"),
        node("Flatten", "o", "f", axis=1),
        size=784,
        s=whole(-1, 28, 28),
    ),
    "layer norm, and curves at their ends": case(
        node("LayerNormalization", "ink g t", "n", axis=-1),
        node("Flatten", "n", "fl", axis=1),
        node("Gemm", "fl w", "h", transB=1),
        node("Tanh", "h", "f"),
        size=20,
        g=numbers(28, size=1),
        t=numbers(28),
        w=numbers(20, 784, size=30),
    ),
    "means of bytes with a zero point, half way between two": case(
        node("Conv", "ink w b", "c", kernel_shape=[3, 3], strides=[2, 2]),
        node("AveragePool", "c", "p", kernel_shape=[2, 1], strides=[2, 1]),
        node("Flatten", "p", "f", axis=1),
        size=312,
        w=numbers(4, 1, 3, 3),
        b=numbers(4),
    ),
    "the mean of a whole image": case(
        node("Conv", "ink w b", "c", kernel_shape=[20, 19], strides=[8, 8]),
        node("Relu", "c", "r"),
        node("AveragePool", "r", "p", kernel_shape=[2, 2]),
        node("Flatten", "p", "f", axis=1),
        size=9,
        w=numbers(9, 1, 20, 19),
        b=numbers(9),
    ),
    "a sum of bytes in another shape": case(
        node("Conv", "ink w", "c", kernel_shape=[3, 3], pads=[1] * 4),
        node("Add", "c ink", "a"),
        node("Reshape", "a s", "r"),
        node("Conv", "r v", "d", kernel_shape=[1, 1]),
        node("Flatten", "d", "logits", axis=1),
        w=numbers(1, 1, 3, 3),
        s=whole(-1, 784, 1, 1),
        v=numbers(10, 784, 1, 1),
    ),
    "batch norm after relu, and on a vector": case(
        node("Conv", "ink w", "c", kernel_shape=[5, 5], strides=[4, 4]),
        node("Relu", "c", "r"),
        node("BatchNormalization", "r g t m v", "n"),
        node("Flatten", "n", "fl", axis=1),
        node("BatchNormalization", "fl g2 t2 m2 v2", "f"),
        size=108,
        w=numbers(3, 1, 5, 5),
        g=numbers(3, size=1),
        t=numbers(3),
        m=numbers(3),
        v=np.abs(numbers(3, size=1)) + 0.1,
        g2=numbers(108, size=1),
        t2=numbers(108),
        m2=numbers(108),
        v2=np.abs(numbers(108, size=1)) + 0.1,
    ),
}

#: Compiled with the fast kernels of this processor, as all random networks are.
FAST = ("filters of many weights, over images of odd sizes, and a sum around them",)
assert set(FAST) <= set(ANSWERED)


def check(folder: Path, float32: Path, precision: str) -> None:
    """Fail unless the C answers as onnxruntime: bit for bit if it says so, else as precisely as float32 allows."""
    file = float32 if precision == "float32" else c_code.static_int8(folder, float32)
    ours, expected, details = c_code.both(folder, file, precision)
    assert ours.shape == expected.shape
    if details["as_source"]:
        assert np.array_equal(ours.view(np.uint32), expected.view(np.uint32)), np.abs(ours - expected).max()
    part, distance = 1e-5, np.abs(ours - expected).max()
    if (
        precision != "float32" and not details["as_source"]
    ):  # onnxruntime makes one operator of a sum or a mean between bytes, and rounds otherwise
        part, distance = 0.02, min(distance, np.abs(ours - c_code.as_written(file)).max())
    assert distance <= 1e-4 + part * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8-static"])
@pytest.mark.parametrize("name", ANSWERED)
def test_a_network_answers_as_with_onnxruntime(name: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (name, precision) == ("a bias of one number", "int8-static"):
        return  # onnxruntime itself cannot quantize it
    if precision != "float32" and name not in FAST:
        # the kernels are the same in all of these, and AVX2's header takes half a second to compile
        monkeypatch.setenv("CC", f"{os.environ.get('CC') or 'cc'} -DPLAIN_C")
    nodes, weights = ANSWERED[name]
    check(tmp_path, c_code.network(tmp_path / "net.onnx", nodes, weights), precision)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8-static"])
@pytest.mark.parametrize("seed", range(2))  # many more are a proof
def test_a_random_network_answers_as_with_onnxruntime(seed: int, precision: str, tmp_path: Path) -> None:
    check(tmp_path, RandomNetwork(seed, int8=precision != "float32").write(tmp_path / "net.onnx"), precision)


@pytest.mark.proof
@pytest.mark.parametrize("precision", ["float32", "int8-static"])
@pytest.mark.parametrize("first", range(2, 42, 20))
def test_many_random_networks_answer_as_with_onnxruntime(first: int, precision: str, tmp_path: Path) -> None:
    for seed in range(first, first + 20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        network = RandomNetwork(seed, int8=precision != "float32")
        try:
            check(folder, network.write(folder / "net.onnx"), precision)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {network.words}") from error


REFUSED = {
    "RandomNormal": case(
        helper.make_node("RandomNormal", [], ["r"], name="r", shape=[10]), FLAT, node("Gemm", "flat w r", "logits"), w=numbers(784, 10)
    ),
    "Selu": case(node("Selu", "ink", "s"), node("Flatten", "s", "f", axis=1), size=784),
    "Conv with groups": case(
        node("Conv", "ink w", "c", kernel_shape=[3, 3], strides=[3, 3]),
        node("Conv", "c v", "d", kernel_shape=[1, 1], group=2),
        node("Flatten", "d", "f", axis=1),
        size=162,
        w=numbers(2, 1, 3, 3),
        v=numbers(2, 1, 1, 1),
    ),
    "Conv with groups, dilations": case(
        node("Conv", "ink w", "c", kernel_shape=[3, 3], dilations=[2, 2]),
        node("Flatten", "c", "f", axis=1),
        size=576,
        w=numbers(1, 1, 3, 3),
    ),
    "Conv with .* auto_pad": case(
        node("Conv", "ink w", "c", kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
        node("Flatten", "c", "f", axis=1),
        size=784,
        w=numbers(1, 1, 3, 3),
    ),
    "Conv over anything but height and width": case(
        node("Reshape", "ink s", "r"),
        node("Conv", "r w", "c", kernel_shape=[3]),
        node("Flatten", "c", "f", axis=1),
        size=104,
        s=whole(-1, 28, 28),
        w=numbers(4, 28, 3),
    ),
    "MaxPool with .* ceil_mode": case(
        node("MaxPool", "ink", "p", kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1), node("Flatten", "p", "f", axis=1), size=100
    ),
    "MaxPool with .* auto_pad": case(
        node("MaxPool", "ink", "p", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), node("Flatten", "p", "f", axis=1), size=196
    ),
    "AveragePool with padding": case(
        node("AveragePool", "ink", "p", kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4), node("Flatten", "p", "f", axis=1), size=225
    ),
    "MaxPool with a second output": case(
        node("MaxPool", "ink", "p i", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "i", "fi", axis=1),
        node("Cast", "fi", "f", to=TensorProto.FLOAT),
        size=196,
    ),
    "Gemm with alpha": case(FLAT, node("Gemm", "flat w b", "logits", alpha=2.0), w=numbers(784, 10), b=numbers(10)),
    "MatMul with a constant that is not a matrix": case(
        node("MatMul", "ink w", "g"), node("Flatten", "g", "f", axis=1), size=140, w=numbers(1, 1, 28, 5)
    ),
    "Gather of more than one index": case(node("Gather", "ink i", "g", axis=2), node("Flatten", "g", "f", axis=1), size=56, i=whole(3, 5)),
    "Slice with steps": case(
        node("Slice", "ink s e a t", "c"), node("Flatten", "c", "f", axis=1), size=392, s=whole(0), e=whole(28), a=whole(2), t=whole(2)
    ),
    r"this kind of Pad \(node cropped": case(
        node("Pad", "ink p", "cropped"), node("Flatten", "cropped", "f", axis=1), size=400, p=whole(0, 0, -4, -4, 0, 0, -4, -4)
    ),
    r"this kind of Pad \(node mirrored": case(
        node("Pad", "ink p", "mirrored", mode="reflect"),
        node("Flatten", "mirrored", "f", axis=1),
        size=900,
        p=whole(0, 0, 1, 1, 0, 0, 1, 1),
    ),
    "Softmax over any axis but the last": case(node("Softmax", "ink", "q", axis=2), node("Flatten", "q", "f", axis=1), size=784),
    "Mul that broadcasts": case(
        node("ReduceMean", "ink a", "m", keepdims=1), node("Mul", "ink m", "x"), node("Flatten", "x", "f", axis=1), size=784, a=whole(3)
    ),
    "the approximate Gelu": case(node("Gelu", "ink", "g", approximate="tanh"), node("Flatten", "g", "f", axis=1), size=784),
    "a Cast to anything but float32": case(
        helper.make_node("Cast", ["pixels"], ["bit"], name="bit/Cast", to=TensorProto.BOOL),
        node("Cast", "bit", "b", to=TensorProto.FLOAT),
        node("Flatten", "b", "f", axis=1),
        size=784,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_kernel_is_refused_by_name(name: str, tmp_path: Path) -> None:
    nodes, weights = REFUSED[name]
    file = c_code.network(tmp_path / "net.onnx", nodes, weights)
    with pytest.raises(ExportError, match=rf"^format c has no kernel for (operator )?{name}") as caught:
        c_code.written(tmp_path / "c", file)
    assert "\n" not in str(caught.value) and "(node " in str(caught.value)
    assert not list((tmp_path / "c").iterdir())
