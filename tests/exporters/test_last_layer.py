"""Static int8: the last layer adds integers, and gives floats; what comes behind it stays in float."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import train_small

from exporters import Calibration, gate
from mnist_edge import store
from mnist_edge.architectures.recipe import Recipe
from mnist_edge.dataset import Dataset

pytestmark = pytest.mark.slow


def exported(model: store.Model, training: Dataset, test: Dataset, **options: object) -> onnx.GraphProto:
    """Publish a model in static int8, and return the graph of the file. Its budget is a user's but for the network's short training."""
    images = Calibration.draw(training, 100)
    model, proof = gate.export(model, "onnx", test, precision="int8-static", calibration=images, max_accuracy_drop=0.02, options=options)
    assert proof.artifact is not None, proof.report.failures
    return onnx.load(model.folder / proof.artifact.file).graph


def layers(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]


def kinds_of_weights(graph: onnx.GraphProto) -> list[int]:
    """Return the type of each layer's weights, as they are stored in the file."""
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    stored = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return [kinds[stored.get(node.input[1], node.input[1])] for node in layers(graph)]


def behind(graph: onnx.GraphProto, layer: onnx.NodeProto) -> list[str]:
    """Return the operators between a layer and the logits."""
    reached, found = set(layer.output), []
    for node in graph.node:
        if reached & set(node.input):
            reached |= set(node.output)
            found.append(node.op_type)
    return found


@pytest.mark.parametrize(
    ("network", "operators"),
    [
        ("lenet", []),
        pytest.param("endings:LogSoftmax", ["LogSoftmax"], marks=pytest.mark.proof),
        pytest.param("endings:EndsInRelu", ["Relu"], marks=pytest.mark.proof),  # the tool takes a ReLU and a rounding for one thing
        pytest.param("endings:EndsInSum", ["Add", "Relu"], marks=pytest.mark.proof),
        pytest.param("endings:Pooled", ["AveragePool", "Reshape"], marks=pytest.mark.proof),
        pytest.param(
            "endings:OwnProduct", [], marks=pytest.mark.proof
        ),  # ONNX Runtime makes one layer of a product and a sum, under another name
        ("endings:TwoHeads", ["Add"]),
    ],
)
def test_the_last_layer_adds_integers_and_gives_floats(
    tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset, network: str, operators: list[str]
) -> None:
    recipe = Recipe(epochs=3, batch_size=32, schedule="constant")
    model = train_small(tmp_path, network, data=drawn_train, test=drawn_test, name="m", recipe=recipe)
    graph = exported(model, drawn_train, drawn_test)
    assert set(kinds_of_weights(graph)) == {onnx.TensorProto.INT8}
    assert behind(graph, layers(graph)[-1]) == operators
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_the_logits_are_sums_of_integers_times_one_number_a_class(reduced: store.Model, drawn_test: Dataset) -> None:
    """Bit for bit: what any runtime can compute, and a file in C does."""
    model = onnx.load(reduced.folder / "lenet.int8-static.onnx")
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    inputs, weights, bias = (makers[name] for name in layers(model.graph)[-1].input)
    model.graph.output.append(onnx.helper.make_tensor_value_info(inputs.input[0], onnx.TensorProto.UINT8, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    logits, before = session.run(None, {"pixels": drawn_test.images[:200]})
    zero = int(constants[inputs.input[2]])
    sums = (before.astype(np.int64) - zero) @ constants[weights.input[0]].astype(np.int64).T + constants[bias.input[0]]
    assert np.array_equal(logits, sums.astype(np.float32) * (constants[inputs.input[1]] * constants[weights.input[1]]))


def test_a_last_layer_can_still_be_kept_in_float(reduced: store.Model, models: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    graph = exported(store.find("lenet", models), drawn_train, drawn_test, keep_float=["fc3"])
    assert kinds_of_weights(graph) == [onnx.TensorProto.INT8] * 4 + [onnx.TensorProto.FLOAT]
    assert behind(graph, layers(graph)[-1]) == []
