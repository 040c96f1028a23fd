"""Small networks at random: every operator that format c has a kernel for, in orders, sizes and paddings that nobody chose."""

import random
from pathlib import Path
from typing import Any

import c_code
import numpy as np
import onnx
from onnx import helper

_FLOAT32 = (
    "conv",
    "conv",
    "conv",
    "relu",
    "max",
    "average",
    "residual",
    "concat",
    "slice",
    "pad",
    "curve",
    "constant",
    "norm",
    "transpose",
    "mean",
)
_INT8 = ("conv", "conv", "conv relu", "conv relu", "conv relu max", "conv relu max", "relu", "max", "average", "residual", "concat")


class RandomNetwork:
    """A network of a seed; `words` says what it is made of."""

    def __init__(self, seed: int, int8: bool = False) -> None:
        self._choose, self._rng = random.Random(seed), np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Any] = {}
        self._count = 0
        self._x, self._shape = "ink", (1, 28, 28)
        for _ in range(self._choose.randint(0, 5)):
            self._add(self._choose.choice(_INT8 if int8 else _FLOAT32))
        self._end()

    @property
    def words(self) -> str:
        return " ".join(node.op_type for node in self.nodes)

    def write(self, path: Path) -> Path:
        return c_code.network(path, self.nodes, self.weights)

    def _op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        self._count += 1
        output = f"t{self._count}"
        self.nodes.append(helper.make_node(operator, [self._x, *inputs], [output], name=f"{self._count}/{operator}", **attributes))
        return output

    def _two(self, operator: str, left: str, right: str, **attributes: Any) -> str:
        kept, self._x = self._x, left
        output = self._op(operator, right, **attributes)
        self._x = kept
        return output

    def _constant(self, value: Any) -> str:
        self._count += 1
        self.weights[f"c{self._count}"] = np.asarray(value)
        return f"c{self._count}"

    def _normal(self, *shape: int, scale: float = 0.0) -> str:
        inputs = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        return self._constant((self._rng.normal(size=shape) * (scale or inputs**-0.5)).astype(np.float32))

    def _add(self, kind: str) -> None:
        c, h, w = self._shape
        if kind.startswith("conv"):
            self._convolution()
            if "relu" in kind:
                self._x = self._op("Relu")
            if kind.endswith("max"):
                self._pool("MaxPool")
        elif kind in ("max", "average"):
            self._pool("MaxPool" if kind == "max" else "AveragePool")
        elif kind == "relu":
            self._x = self._op("Relu")
        elif kind == "residual":
            y = self._op("Conv", self._normal(c, c, 3, 3), self._normal(c, scale=0.1), kernel_shape=[3, 3], pads=[1] * 4)
            self._x = self._two("Add", self._x, y) if self._flip() else self._two("Add", y, self._x)
            if self._flip():
                self._x = self._op("Relu")
        elif kind == "concat":
            channels = self._choose.randint(1, 9)
            y, z = self._op("Conv", self._normal(channels, c, 1, 1), kernel_shape=[1, 1]), self._x
            if self._flip():
                z = self._op("Relu")
            self._x = self._two("Concat", y, z, axis=1) if self._flip() else self._two("Concat", z, y, axis=1)
            self._shape = (c + channels, h, w)
        elif kind == "slice":
            axis = self._choose.choice([1, 2, 3, -1, -2, -3])
            first = self._choose.randint(0, self._shape[axis - 1 if axis > 0 else axis] - 1)
            last = self._choose.randint(first + 1, self._shape[axis - 1 if axis > 0 else axis])
            self._x = self._op("Slice", *(self._constant(np.array([one])) for one in (first, last, axis)))
            self._shape = tuple(last - first if at == (axis - 1 if axis > 0 else axis + 3) else n for at, n in enumerate(self._shape))  # type: ignore[assignment]
        elif kind == "pad":
            top, left, bottom, right = (self._choose.randint(0, 2) for _ in range(4))
            widths = self._constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
            self._x = self._op("Pad", widths, self._constant(np.float32(self._choose.choice([0, 0.5]))))
            self._shape = (c, h + top + bottom, w + left + right)
        elif kind == "curve":
            self._x = self._op(self._choose.choice(["Gelu", "Sigmoid", "Tanh", "Erf"]))
        elif kind == "constant":
            shape = self._choose.choice([(1, c, 1, 1), (1,), (1, 1, 1, w), (c, h, w)])
            self._x = self._op(self._choose.choice(["Mul", "Add"]), self._normal(*shape, scale=1))
        elif kind == "norm":
            some = [self._normal(c, scale=1) for _ in range(3)]
            self._x = self._op("BatchNormalization", *some, self._constant(self._rng.uniform(0.5, 2, c).astype(np.float32)))
        elif kind == "transpose":
            self._x = self._op("Transpose", perm=[0, 1, 3, 2])
            self._shape = (c, w, h)
        elif kind == "mean" and self._flip():
            self._x = self._op("GlobalAveragePool")
            self._shape = (c, 1, 1)

    def _flip(self) -> bool:
        return self._choose.random() < 0.5

    def _convolution(self) -> None:
        c, h, w = self._shape
        kh, kw = self._choose.randint(1, min(5, h)), self._choose.randint(1, min(5, w))
        sy, sx = self._choose.randint(1, 3), self._choose.randint(1, 3)
        pads = [self._choose.randint(0, n - 1) for n in (kh, kw, kh, kw)] if self._flip() else [0] * 4
        channels = self._choose.randint(1, 17)
        bias = [self._normal(channels, scale=0.1)] if self._choose.random() < 0.8 else []
        self._x = self._op("Conv", self._normal(channels, c, kh, kw), *bias, kernel_shape=[kh, kw], strides=[sy, sx], pads=pads)
        self._shape = (channels, (h + pads[0] + pads[2] - kh) // sy + 1, (w + pads[1] + pads[3] - kw) // sx + 1)

    def _pool(self, operator: str) -> None:
        c, h, w = self._shape
        kh, kw = self._choose.randint(1, min(4, h)), self._choose.randint(1, min(4, w))
        sy, sx = self._choose.randint(1, 3), self._choose.randint(1, 3)
        self._x = self._op(operator, kernel_shape=[kh, kw], strides=[sy, sx])
        self._shape = (c, (h - kh) // sy + 1, (w - kw) // sx + 1)

    def _end(self) -> None:
        c, h, w = self._shape
        how, k = self._choose.choice(["flatten", "flatten", "reshape", "average", "mean", "image", "rows"]), c * h * w
        if how == "flatten":
            self._x = self._op("Flatten", axis=1)
        elif how == "reshape":
            self._x = self._op("Reshape", self._constant(np.array([-1, k])))
        elif how == "average":
            self._x, k = self._op("GlobalAveragePool"), c
            self._x = self._op("Flatten", axis=1)
        elif how == "mean":
            self._x, k = self._op("ReduceMean", self._constant(np.array([2, 3])), keepdims=0), c
        elif how == "image":  # flattened, and an image again
            self._x = self._op("Reshape", self._constant(np.array([-1, k, 1, 1])))
            self._x, k = self._op("Conv", self._normal(7, k, 1, 1), kernel_shape=[1, 1]), 7
            self._x = self._op("Flatten", axis=1)
        else:
            n = self._choose.randint(1, 20)
            self._x = self._op("Reshape", self._constant(np.array([-1, c, h * w])))
            self._x = self._op("MatMul", self._normal(h * w, n, scale=(h * w) ** -0.5))
            if self._flip():
                self._x = self._op("Add", self._normal(n, scale=0.1))
            if self._flip():
                self._x = self._op("Relu")
            k = c * n
            self._x = self._op("Reshape", self._constant(np.array([-1, k])))
        for _ in range(self._choose.randint(0, 2)):
            n, transposed = self._choose.randint(1, 40), int(self._flip())
            if self._choose.random() < 0.7:
                weight = self._normal(n, k) if transposed else self._normal(k, n, scale=k**-0.5)
                self._x = self._op("Gemm", weight, self._normal(n, scale=0.1), transB=transposed)
            else:
                self._x = self._op("MatMul", self._normal(k, n, scale=k**-0.5))
            if self._choose.random() < 0.7:
                self._x = self._op("Relu")
            k = n
        self._op("Gemm", self._normal(10, k), self._normal(10, scale=0.1), transB=1)
        self.nodes[-1].output[0] = "logits"
