"""Every layer of a network with its output shape and parameters."""

from dataclasses import dataclass

import torch
from torch import nn

from mnist_edge.architectures.own import place
from mnist_edge.common.errors import UsageError, one_line


@dataclass(frozen=True)
class Layer:
    """One layer, in the order in which an image passes it.

    Attributes:
        name: its place in the network, such as ``conv1`` or ``layer1.0.bn2``.
        kind: its class, such as ``Conv2d``.
        output: shape of what it returns for one image, without the batch.
        parameters: shapes of its own parameters, by name.
        count: number of its own parameters.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: dict[str, tuple[int, ...]]
    count: int


def layers(network: nn.Module) -> list[Layer]:
    """Return the layers that an image passes, by running two blank images through the network in eval mode.

    Layers without children are listed, and any layer that holds parameters of its own; operations that are no layers
    (such as `torch.relu`) leave no trace. A layer passed twice is listed once. Raises UsageError if the network raises.
    """
    found: dict[str, Layer] = {}
    handles = []

    def note(name: str, module: nn.Module) -> None:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            shape = tuple(tensor.shape[1:]) if isinstance(tensor, torch.Tensor) else ()
            own = {key: tuple(value.shape) for key, value in module.named_parameters(recurse=isinstance(module, nn.MultiheadAttention))}
            count = sum(torch.Size(s).numel() for s in own.values())
            found.setdefault(name, Layer(name or type(module).__name__, type(module).__name__, shape, own, count))

        handles.append(module.register_forward_hook(hook))

    for name, module in network.named_modules():
        if _is_shown(module) or any(True for _ in module.parameters(recurse=False)):
            note(name, module)
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(2, 1, 28, 28))
    except (Exception, SystemExit) as error:  # the user's own network, which may raise anything
        where = place(error.__traceback__)
        raise UsageError(
            f"network {type(network).__name__} does not take float32 N×1×28×28: {one_line(error)}" + (f" ({where})" if where else "")
        ) from error
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return list(found.values())


def _is_shown(module: nn.Module) -> bool:
    # attention uses its projection's weights without calling that layer, so the two are shown as one
    return isinstance(module, nn.MultiheadAttention) or not any(True for _ in module.children())
