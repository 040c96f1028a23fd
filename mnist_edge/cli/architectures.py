"""``mnist-edge architectures``."""

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import Output, Right, option, subcommand, table
from mnist_edge.common.extras import require
from mnist_edge.common.text import count
from mnist_edge.common.trust import allow, allowing, own_network


@subcommand("architectures", "architectures", "architectures resnet-tiny --set use_conv=true", data=False, models=False)
@click.argument("architecture", required=False, shell_complete=completing.networks)
@option("--set", "arguments", multiple=True, metavar="KEY=VALUE", help="Argument of the network, such as use_conv=true.")
@allowing()
def command(architecture: str | None, arguments: tuple[str, ...], out: Output) -> None:
    """List the networks. With ARCHITECTURE, print each of its layers with its output shape and parameters, and the total."""
    require("listing the networks", "torch")
    from mnist_edge import architectures
    from mnist_edge.cli.train import parse_arguments

    if architecture is None:
        found = [architectures.find(name) for name in architectures.names()]
        counts = [sum(p.numel() for p in architectures.build(a.name).parameters()) for a in found]
        rows = [[a.name, f"{n:,}", a.summary] for a, n in zip(found, counts, strict=True)]
        document = [{"name": a.name, "parameters": n, "summary": a.summary} for a, n in zip(found, counts, strict=True)]
        out.result({"architectures": document}, table(rows, ["network", Right("parameters"), "what it is"]))
        out.next_step("architectures", "lenet")
        return
    if own_network(architecture):
        allow(architecture)  # the user typed this name, so its code may run
    network = architectures.build(architecture, parse_arguments(arguments))
    layers = architectures.layers(network)
    total = sum(p.numel() for p in network.parameters())
    rows = [
        [
            layer.name,
            layer.kind,
            "×".join(map(str, ("N", *layer.output))),
            ", ".join(f"{key} {'×'.join(map(str, shape))}" for key, shape in layer.parameters.items()),
            f"{layer.count:,}",
        ]
        for layer in layers
    ]
    elsewhere = total - sum(layer.count for layer in layers)
    if elsewhere:
        rows.append(["(elsewhere)", "", "", "", f"{elsewhere:,}"])
    text = f"input N×1×28×28\n{table(rows, ['layer', 'kind', 'output', 'parameters', Right('count')])}\n{count(total, 'parameter')}"
    document = [{"name": x.name, "kind": x.kind, "output": x.output, "parameters": x.parameters, "count": x.count} for x in layers]
    out.result({"architecture": architecture, "layers": document, "parameters": total}, text)
    out.next_step("train", architecture, *(word for pair in arguments for word in ("--set", pair)))
