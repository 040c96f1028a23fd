"""Writes a LeNet or a perceptron of two layers as a folder: ``graph.json``, ``about.txt`` and ``weights/NAME.npy``."""

import json
from typing import Any

import numpy as np

from exporters import Format, Target
from mnist_edge.common.errors import ExportError
from mnist_edge.common.options import Option

#: The steps of each network that it knows, between normalisation and logits: by the names of its layers.
_STEPS = {
    ("conv1", "conv2", "fc1", "fc2", "fc3"): "conv1 relu pool conv2 relu pool fc1 relu fc2 relu fc3",
    ("fc1", "fc2"): "fc1 relu fc2",
}


def export(deployed: Any, target: Target) -> dict[str, Any]:
    """Write the folder. Raises ExportError for a network that it does not know."""
    layers = dict(deployed.network.named_children())
    if tuple(layers) not in _STEPS:
        raise ExportError(f"{target.architecture}: foldernet knows no such network")
    weights, digits = target.path / "weights", np.dtype(target.options.get("digits", "float32"))
    weights.mkdir(parents=True)
    graph: list[dict[str, Any]] = [{"op": "scale", "by": deployed.scale, "plus": deployed.shift}]
    for step in _STEPS[tuple(layers)].split():
        layer = layers.get(step)
        if layer is None:
            graph.append({"op": step})
            continue
        kernel = layer.weight.ndim == 4
        graph.append({"op": "conv", "name": step, "padding": layer.padding[0]} if kernel else {"op": "dense", "name": step})
        for what in ("weight", "bias"):
            np.save(weights / f"{step}.{what}.npy", getattr(layer, what).detach().numpy().astype(digits))
    (target.path / "graph.json").write_text(json.dumps(graph))
    (target.path / "about.txt").write_text(f"{target.name}\n{target.licence}\n")
    return {"oldest_runtime": "foldernet 1.0", "digits": digits.name}


FORMAT = Format(
    name="foldernet",
    summary="a folder of arrays, for numpy",
    suffix=".folder",
    runtime="foldernet",
    export=export,
    requires=("foldernet", "torch"),
    install="pip install foldernet",
    options=(Option("digits", "Number type of the arrays.", choices=("float32", "float64", "float16"), default="float32"),),
)
