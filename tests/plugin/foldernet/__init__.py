"""What this distribution adds: a runtime in plain numpy, which runs a folder of arrays."""

from mnist_edge.common.options import Option
from mnist_edge.runtimes import Runtime

RUNTIME = Runtime(
    name="foldernet",
    summary="a folder of arrays, in numpy",
    requires=("foldernet", "numpy"),
    module="foldernet.run",
    formats=("foldernet",),
    precisions=("float32",),
    install="pip install foldernet",
    limits="convolution, pooling and dense layers only",
    options=(Option("chunk", "Images at a time.", type=int, default="64"),),
)
