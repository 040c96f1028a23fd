"""What every network promises, also one added later."""

import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from mnist_edge import architectures
from mnist_edge.architectures import Architecture, build, find, layers, names, register
from mnist_edge.common.errors import UnknownNameError, UsageError

TUTORIALS = {
    "lenet": 61_706, "vgg": 3_259_914, "resnet18": 11_177_610, "vit": 70_794, "cnn-small": 21_840, "mlp-256": 203_530, "cnn-keras": 3_274_634,
    "mlp-512": 407_050, "lenet5": 44_426, "resnet-tiny": 8_555, "gru": 18_698, "vit-cls": 138_890, "mnistnet": 1_199_882, "convnet": 1_007_590,
}  # fmt: skip

VARIANTS = [(name, {}) for name in sorted(TUTORIALS)] + [("resnet-tiny", {"use_conv": True})]


def test_the_tutorials_networks_are_there_with_their_sizes() -> None:
    assert set(TUTORIALS) <= set(names())
    assert {name: sum(p.numel() for p in build(name).parameters()) for name in TUTORIALS} == TUTORIALS


@pytest.mark.parametrize(("name", "arguments"), [*((name, {}) for name in names()), ("resnet-tiny", {"use_conv": True})])
def test_an_image_does_not_depend_on_its_neighbours(name: str, arguments: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = build(name, arguments)
    network.train()(torch.randn(32, 1, 28, 28))  # moves the running statistics, where there are any
    network.eval()
    images = torch.randn(5, 1, 28, 28)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
        among_others = network(torch.cat([images[:1], 100 * torch.randn(6, 1, 28, 28)]))[:1]
    assert together.shape == (5, 10)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together[:1], among_others, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-4), "answers every image alike"


@pytest.mark.parametrize("name", ["cnn-small", "mnistnet", "convnet", "mlp-512"])
def test_outputs_are_logits_and_no_probabilities(name: str) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        logits = build(name).eval()(torch.randn(50, 1, 28, 28))
    assert (logits > 0).any()
    assert (logits < 0).any()
    assert not torch.allclose(logits.exp().sum(dim=1), torch.ones(50), atol=1e-3)


def test_layers_account_for_every_parameter() -> None:
    for name, arguments in VARIANTS:
        network = build(name, arguments)
        found = layers(network)
        assert sum(layer.count for layer in found) == sum(p.numel() for p in network.parameters()), name
    lenet = {layer.name: layer for layer in layers(build("lenet"))}
    assert lenet["conv2"].output == (16, 10, 10)
    assert lenet["conv2"].count == 16 * 6 * 25 + 16


def test_a_name_is_registered_once_and_the_unknown_is_named() -> None:
    with pytest.raises(UsageError, match=r"'lenet' is registered twice: mnist_edge\.architectures\.lenet:LeNet and torch"):
        register(Architecture("lenet", nn.Linear, "mine"))
    with pytest.raises(UnknownNameError, match=r"unknown network 'lenet4' \(did you mean 'lenet"):
        find("lenet4")
    with pytest.raises(UnknownNameError, match="unknown argument of network resnet-tiny 'useConv'.*use_conv"):
        build("resnet-tiny", {"useConv": True})
    with pytest.raises(UsageError, match="use_conv of network resnet-tiny takes true or false, not 'maybe'"):
        build("resnet-tiny", {"use_conv": "maybe"})
    with pytest.raises(UsageError, match="cannot be built"):
        build("vit", {"heads": 5})
    with pytest.raises(UnknownNameError, match="lenet has no recipe 'bset'"):
        find("lenet").recipe("bset")


def test_a_network_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
        from torch import nn
        class Net(nn.Module):
            def __init__(self, width=8):
                super().__init__()
                self.fc = nn.Linear(784, 10)
            def forward(self, x):
                return self.fc(x.flatten(1))
        number = 3
        """)
    )
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere")
    monkeypatch.chdir(tmp_path)
    for path in ("mine:Net", "mine:Nothing", "nowhere:Net", "mine:number", "broken:Net", "mine:nn"):
        architectures.allow(path)
    assert isinstance(build("mine:Net", {"width": 4}), nn.Module)
    for path, message in (
        ("mine:Nothing", "Nothing"),
        ("nowhere:Net", r"nowhere\.py"),
        ("mine:number", "is not a class"),
        ("broken:Net", "no_such_module_anywhere"),
        ("mine:nn", "is not a class"),
    ):
        with pytest.raises(UsageError, match=message):
            build(path)


def test_a_plug_in_that_fails_is_a_warning_and_one_that_works_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from mnist_edge.architectures import registry
    from mnist_edge.common import plugins
    from mnist_edge.common.errors import PluginWarning

    registry._load_all()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setitem(__import__("sys").modules, "plugged", type("M", (), {"NET": Architecture("plugged", nn.Identity, "x")}))
    points = [EntryPoint("bad", "no_such_package:x", registry.ENTRY_POINTS), EntryPoint("good", "plugged:NET", registry.ENTRY_POINTS)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    with pytest.warns(PluginWarning, match="no_such_package"):
        registry._load_all.__wrapped__()
    assert "plugged" in architectures.names()
