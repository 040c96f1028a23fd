"""A model's card: the ``README.md`` of its folder (Mitchell et al., "Model Cards for Model Reporting", 2019)."""

import json
import re
import shlex
from collections.abc import Sequence

from mnist_edge.common.errors import printable
from mnist_edge.common.text import percent, size
from mnist_edge.common.trust import own_network
from mnist_edge.report import words
from mnist_edge.report.findings import Findings
from mnist_edge.report.origin import Origin
from mnist_edge.store import Model
from mnist_edge.store.manifest import Artifact, FileRecord

FILE = "README.md"

_PYTHON = """from mnist_edge import Predictor

print(Predictor.load(".").predict("img.png").digit)  # numpy, pillow and onnxruntime; no torch"""

_PLAIN_PYTHON = """import numpy, onnxruntime

session = onnxruntime.InferenceSession({file})
pixels = numpy.fromfile("t10k-images-idx3-ubyte", numpy.uint8, offset=16).reshape(-1, 1, 28, 28)  # ink bright on a dark ground
print(session.run(["logits"], {{"pixels": pixels[:5]}})[0].argmax(1))"""

_CPP = """#include <onnxruntime_cxx_api.h>
#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>

int main() {{
  std::array<uint8_t, 28 * 28> pixels{{}};
  std::ifstream images("t10k-images-idx3-ubyte", std::ios::binary);
  if (!images.ignore(16).read(reinterpret_cast<char*>(pixels.data()), pixels.size())) return 1;
  Ort::Env env;
  Ort::Session session(env, ORT_TSTR({file}), Ort::SessionOptions{{}});
  const std::array<int64_t, 4> shape{{1, 1, 28, 28}};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto input = Ort::Value::CreateTensor<uint8_t>(memory, pixels.data(), pixels.size(), shape.data(), shape.size());
  const char *inputs[] = {{"pixels"}}, *outputs[] = {{"logits"}};
  auto answer = session.Run(Ort::RunOptions{{}}, inputs, &input, 1, outputs, 1);
  const float* logits = answer[0].GetTensorData<float>();
  std::cout << std::max_element(logits, logits + 10) - logits << "\\n";
}}"""

_JAVASCRIPT = """import fs from "node:fs";
import ort from "onnxruntime-node";
const pixels = new Uint8Array(fs.readFileSync("t10k-images-idx3-ubyte")).slice(16, 16 + 784);
const session = await ort.InferenceSession.create({file});
const {{ logits }} = await session.run({{ pixels: new ort.Tensor("uint8", pixels, [1, 1, 28, 28]) }});
console.log(logits.data.indexOf(Math.max(...logits.data)));"""


def card(findings: Findings, origin: Origin, has_weights: bool = True, not_kept: Sequence[Artifact] = ()) -> str:
    """Return the card in Markdown; its pictures are ``curves.png`` and ``confusion.png`` beside it.

    `not_kept` are artifacts that were proven but are not in the folder; without `has_weights`, the weights are not there either.
    """
    model = findings.model
    parts = [
        f"# {escape(model.name)}",
        escape(words.headline(findings, origin)) + ".",
        *_artifacts(findings, origin, has_weights, not_kept),
        "![loss and accuracy by epoch](curves.png)",
        "![what was read as what](confusion.png)",
        "## Good and bad at",
        _listed(words.strengths(findings)),
        "## How it was trained",
        _listed(words.training(findings)),
        f"{escape(words.again(findings, origin))}:",
        _fenced("sh", origin.command),
        _about_weights(model.manifest.weights, has_weights),
        f"Licence of the weights: {escape(model.manifest.licence)}.",
    ]
    if any(one.runtime == "ort" for one in model.artifacts):
        file = json.dumps(model.artifact("ort").file, ensure_ascii=False)  # a literal in all three languages
        parts += [
            "## How to use it",
            "`pixels`, uint8 N×1×28×28, ink bright on a dark ground → `logits`, float32 N×10. Normalisation is inside; feed it the bytes.",
            "Each of these runs in this folder. All but the first read MNIST's test images, `t10k-images-idx3-ubyte`, from it (copy it from the "
            "folder that `mnist-edge data` names), and answer 7 for the first.",
            "Python, with this package:",
            _fenced("python", _PYTHON),
            "Python, without it:",
            _fenced("python", _PLAIN_PYTHON.format(file=file)),
            "C++ (`g++ -std=c++17 main.cpp -lonnxruntime`):",
            _fenced("cpp", _CPP.format(file=file)),
            "JavaScript, as `main.mjs` in Node (`npm install --ignore-scripts onnxruntime-node`, then `node main.mjs`); in a browser, "
            "`onnxruntime-web` has the same calls:",
            _fenced("js", _JAVASCRIPT.format(file=file)),
        ]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return text as one line that Markdown, GitHub's too, shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", printable(text).strip())


def _about_weights(weights: FileRecord, are_here: bool) -> str:
    if are_here:
        return f"Its weights are here, in {escape(weights.file)}, so `mnist-edge export` and `--runtime torch` work on it."
    return (
        f"Its weights, {size(weights.bytes)}, are not kept here: its exported files run without them, but `mnist-edge export` and "
        "`--runtime torch` need them, and the command above makes them again."
    )


def _artifacts(findings: Findings, origin: Origin, has_weights: bool, not_kept: Sequence[Artifact]) -> list[str]:
    model = findings.model
    proven = sorted([*model.artifacts, *not_kept], key=lambda a: (a.precision != "float32", a.file))
    commands = [] if has_weights else [origin.command]
    if not proven:
        return ["No exported file is here. This makes one:", _fenced("sh", "\n".join([*commands, _export(model, "onnx")]))]
    lines = ["| file | precision | size | accuracy | same answers as PyTorch | needs |", "|---|---|---|---|---|---|"]
    for one in proven:
        proof, elsewhere = one.parity, findings.elsewhere(one)
        on = f" ({escape(elsewhere)})" if elsewhere else ""
        lines.append(
            f"| {escape(one.label)}{'¹' if one in not_kept else ''} | {escape(one.precision)} | {size(one.bytes)} | {percent(proof['accuracy'])}{on} | "
            f"{proof['equal_answers']:,} of {proof['images']:,} | {escape(one.oldest_runtime)} |"
        )
    parts = ["\n".join(lines)]
    if not_kept:
        parts += ["¹ proven, but too large to be kept here. This makes it again:"]
        parts.append(
            _fenced("sh", "\n".join([*commands, *(_export(model, one.format, one.quantize) for one in proven if one in not_kept)]))
        )
    return parts


def _export(model: Model, format_name: str, quantize: str = "none") -> str:
    words = ["mnist-edge", "export", model.name, "--format", format_name]
    if quantize != "none":
        words += ["--quantize", quantize]
    if own := own_network(model.manifest.architecture):
        words += ["--allow-network", own]
    return shlex.join(words)


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {escape(line)}." for line in lines)


def _fenced(language: str, code: str) -> str:
    code = "\n".join(map(printable, code.split("\n")))  # inside code, everything is shown
    longest = max(map(len, re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)  # code cannot end a fence that is longer than any in it
    return f"{fence}{language}\n{code}\n{fence}"
