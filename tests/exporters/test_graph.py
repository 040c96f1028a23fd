"""What every ONNX file has in common: the sets of operators that it names, and that ONNX's own checker passed it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from exporters.onnx import graph, quantization
from exporters.registry import Target
from mnist_edge.common.contract import CLASSES
from mnist_edge.common.errors import ExportError

MODELS = Path(__file__).resolve().parents[2] / "models"
LENET = MODELS / "lenet" / "lenet.onnx"

#: Every set of operators that is imported, most of them used by no node, as ONNX Runtime's preprocessing leaves it.
IMPORTED = [("", 20), ("ai.onnx.ml", 3), ("com.microsoft", 1), ("com.microsoft.nchwc", 1)]


def target(folder: Path, precision: str = "float32") -> Target:
    return Target(folder / "odd.onnx", "odd", "odd", CLASSES, "MIT", precision)


def model_of(nodes: list[onnx.NodeProto], functions: list[onnx.FunctionProto] | None = None, own: tuple[str, ...] = ()) -> onnx.ModelProto:
    """Build a model whose tensor ``scores``, float32 N×10, the nodes turn into ``logits``."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [784, 10], np.linspace(-1, 1, 7840, dtype=np.float32))
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 784])
    before = [
        helper.make_node("Cast", ["pixels"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["bytes", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
    ]
    whole = helper.make_graph(
        [*before, *nodes],
        "odd",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [weight, shape],
    )
    imported = [helper.make_opsetid(*one) for one in (*IMPORTED, *((domain, 1) for domain in own))]
    return helper.make_model(whole, opset_imports=imported, functions=functions or [])


def branches(domain: str, then: str = "Gelu") -> list[onnx.NodeProto]:
    """An If whose first branch, taken for a picture with ink, holds an operator of another domain."""

    def body(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ["N", 10])])

    inked = body("inked", helper.make_node(then, ["scores"], ["inked_out"], domain=domain))
    bare = body("bare", helper.make_node("Neg", ["scores"], ["bare_out"]))
    return [
        helper.make_node("ReduceMax", ["bytes"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["ink"], to=TensorProto.BOOL),
        helper.make_node("If", ["ink"], ["logits"], then_branch=inked, else_branch=bare),
    ]


def a_function(body: list[onnx.NodeProto]) -> tuple[onnx.NodeProto, onnx.FunctionProto]:
    imported = [helper.make_opsetid(*one) for one in IMPORTED]
    function = helper.make_function("own", "Activate", ["scores"], ["logits"], body, imported)
    return helper.make_node("Activate", ["scores"], ["logits"], domain="own"), function


def answers(content: bytes) -> np.ndarray:
    pixels = np.arange(784, dtype=np.uint8).reshape(1, 1, 28, 28)
    return np.asarray(onnxruntime.InferenceSession(content).run(["logits"], {"pixels": pixels})[0])


def test_a_set_of_operators_that_only_a_branch_uses_stays(tmp_path: Path) -> None:
    model = model_of(branches("com.microsoft"))
    before = answers(model.SerializeToString())
    content = graph.finish(model, target(tmp_path))
    assert np.array_equal(answers(content), before)
    assert [entry.domain for entry in onnx.load_from_string(content).opset_import] == ["", "com.microsoft"]


def test_a_function_is_written_out_and_the_set_of_operators_that_only_it_uses_stays(tmp_path: Path) -> None:
    call, function = a_function([helper.make_node("Gelu", ["scores"], ["logits"], domain="com.microsoft")])
    model = model_of([call], [function], own=("own",))
    before = answers(model.SerializeToString())
    written = onnx.load_from_string(content := graph.finish(model, target(tmp_path)))
    assert np.array_equal(answers(content), before)
    assert [entry.domain for entry in written.opset_import] == ["", "com.microsoft"]
    assert not written.functions


def test_what_no_node_uses_goes(tmp_path: Path) -> None:
    content = graph.finish(model_of([helper.make_node("Neg", ["scores"], ["logits"])]), target(tmp_path))
    assert [entry.domain for entry in onnx.load_from_string(content).opset_import] == [""]


def test_no_note_of_this_machine_is_written(tmp_path: Path) -> None:
    """Not of a node, a tensor or a graph, in a branch or a function either."""
    call, function = a_function(branches("com.microsoft")[2:])
    before = branches("com.microsoft")[:2]
    call.input.append("ink")
    function.input.append("ink")
    model = model_of([*before, call], [function], own=("own",))
    model.graph.value_info.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["N", 784]))
    expected = answers(model.SerializeToString())
    noted = []

    def note(part: object) -> None:
        """Put a path into every field for notes, at any depth."""
        noted.append(type(part).__name__)
        part.doc_string = "in /home/ann"  # type: ignore[attr-defined]
        part.metadata_props.add(key="file", value="/home/ann/net.py")  # type: ignore[attr-defined]

    def note_all(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
        tensors = (*graph.initializer, *graph.input, *graph.output) if isinstance(graph, onnx.GraphProto) else ()
        for part in (graph, *graph.node, *graph.value_info, *tensors):
            note(part)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    note_all(attribute.g)

    note(model)
    for whole in (model.graph, *model.functions):
        note_all(whole)
    assert noted.count("GraphProto") == 3 and noted.count("FunctionProto") == 1
    assert b"/home/ann" in model.SerializeToString()
    content = graph.finish(model, target(tmp_path))
    assert b"/home/ann" not in content
    assert np.array_equal(answers(content), expected)


@pytest.mark.parametrize(
    "nodes",
    [
        branches("", "NoSuchOperator"),
        [helper.make_node("Softmax", ["scores", "weight"], ["logits"])],
        [helper.make_node("MatMul", ["scores", "weight"], ["logits"])],
    ],
    ids=["an operator that is not there", "an input too many", "shapes that do not fit"],
)
def test_a_graph_that_the_checker_refuses_is_not_written(tmp_path: Path, nodes: list[onnx.NodeProto]) -> None:
    with pytest.raises(ExportError, match=r"^odd: the ONNX checker refuses the graph in int8-static: [^\n]+$"):
        graph.finish(model_of(nodes), target(tmp_path, "int8-static"))


@pytest.mark.parametrize(
    ("convert", "tool"),
    [
        (quantization.to_fp16, "onnxruntime.transformers.float16.convert_float_to_float16"),
        (quantization.to_dynamic_int8, "onnxruntime.quantization.quantize_dynamic"),
    ],
)
def test_what_a_tool_of_onnx_runtime_breaks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, convert: object, tool: str) -> None:

    def careless(model: onnx.ModelProto | Path, written: Path | None = None, **_: object) -> onnx.ModelProto:
        model = onnx.load(model) if isinstance(model, Path) else model
        model.graph.node[2].op_type = "NoSuchOperator"
        if written:
            onnx.save(model, written)
        return model

    monkeypatch.setattr(tool, careless)
    with pytest.raises(ExportError, match="odd: the ONNX checker refuses the graph in "):
        convert(LENET, target(tmp_path, "fp16"))  # type: ignore[operator]
    assert not (tmp_path / "odd.onnx").exists()


def test_the_casts_around_what_fp16_leaves_in_float_stand_before_their_readers(tmp_path: Path) -> None:
    """Gelu stays in float32, for it kills the runtime in float16; the tool writes its casts at the graph's end."""
    float32 = MODELS / "vit-cls" / "vit-cls.onnx"
    quantization.to_fp16(float32, target(tmp_path, "fp16"))
    written = onnx.load(tmp_path / "odd.onnx")
    onnx.checker.check_model(written, full_check=True)
    casts = {node.output[0]: node.attribute[0].i for node in written.graph.node if node.op_type == "Cast"}
    gelus = [node for node in written.graph.node if node.op_type == "Gelu"]
    assert len(gelus) == 4
    assert all(casts[node.input[0]] == TensorProto.FLOAT for node in gelus)
    assert np.abs(answers(written.SerializeToString()) - answers(float32.read_bytes())).max() < 0.05
