"""One wording where a model's weights are not kept, as with the large reference models: what is missing, what still works, what makes it again."""

import shlex
from pathlib import Path

import pytest

from mnist_edge import Predictor, runtimes, store
from mnist_edge.common.errors import ModelError

MODELS = Path(__file__).resolve().parents[1] / "models"
WORDS = "without weights.safetensors it can be run from its exported files, but not exported again; restore that file, or train the model again: "


@pytest.mark.parametrize("what", ["weights", "an artifact that is not there", "an artifact of another runtime", "golden inputs"])
def test_what_cannot_be_made_again_says_what_has_to_come_first(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "my models" / "vgg"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes((MODELS / "vgg" / "manifest.json").read_bytes())
    model = store.Model.read(folder)
    asked = {
        "weights": lambda: model.path(model.manifest.weights),
        "an artifact that is not there": lambda: model.path(model.artifacts[0]),
        "an artifact of another runtime": lambda: runtimes.get("torchscript").choose(model),
        "golden inputs": lambda: model.path(model.manifest.golden),
    }
    with pytest.raises(ModelError) as raised:
        asked[what]()
    before, command = str(raised.value).split(WORDS)
    train, _, export = command.partition("; then: ")
    assert before.startswith(str(folder))
    assert shlex.split(train)[:3] == ["mnist-edge", "train", "vgg"]
    assert shlex.split(train)[-2:] == ["--models-dir", str(folder.parent)]
    formats = {"an artifact of another runtime": "torchscript", "weights": None}
    wanted = formats.get(what, "onnx")
    lower = ["--quantize", "static"] if what == "an artifact that is not there" else []
    assert shlex.split(export) == (["mnist-edge", "export", str(folder), "--format", wanted, *lower] if wanted else [])


def test_where_the_weights_are_the_export_is_enough(tmp_path: Path) -> None:
    folder = tmp_path / "gru"
    folder.mkdir()
    for name in ("manifest.json", "weights.safetensors"):
        (folder / name).write_bytes((MODELS / "gru" / name).read_bytes())
    with pytest.raises(ModelError, match=r"make one: mnist-edge export \S+gru --format torchscript$"):
        runtimes.get("torchscript").choose(store.Model.read(folder))


def test_the_small_reference_models_run_from_their_weights() -> None:
    """As they do in a clone: by --runtime torch, and as what an export starts from."""
    small = [model for model in store.list_models(MODELS)[0] if (model.folder / model.manifest.weights.file).is_file()]
    assert len(small) == 9
    for model in small:
        Predictor.load(model.folder, runtime="torch", self_test=True)
