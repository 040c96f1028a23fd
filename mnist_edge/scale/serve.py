"""The server's application on Ray Serve: ``serve run mnist_edge.scale.serve:app model=lenet``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import serve

from mnist_edge.common.errors import UsageError
from mnist_edge.serving.settings import Settings

if TYPE_CHECKING:
    from mnist_edge.serving.app import App

#: What ``serve run`` may be given after the app's name, with what stands for nothing.
ARGUMENTS = {"model": "", "runtime": "ort", "replicas": "1", "require_proof": "false"}


def app(arguments: dict[str, Any]) -> serve.Application:
    """Return the application for ``serve run`` or ``serve.run``: the paths of ``mnist-edge serve``, in as many replicas as are asked for.

    A replica is not ready before its model has passed its self-test there. Raises UsageError for arguments that are not in `ARGUMENTS`.
    """
    if unknown := arguments.keys() - ARGUMENTS.keys():
        raise UsageError(f"unknown argument {min(unknown)}; known: {', '.join(ARGUMENTS)}")
    given = ARGUMENTS | {key: str(value) for key, value in arguments.items()}
    settings = Settings(
        models=(given["model"],) if given["model"] else (),
        runtime=given["runtime"],
        require_proof=_truth("require_proof", given["require_proof"]),
        host="",  # Ray's proxy decides who may ask
        log=False,  # Ray logs requests
    )

    def build() -> App:  # in the replica, where the model is
        from mnist_edge.serving.embedded import application

        return application(settings)

    deployment = serve.deployment(
        serve.ingress(build)(), num_replicas=_number("replicas", given["replicas"]), ray_actor_options={"num_cpus": 1}
    )
    return deployment.bind()


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):  # anything else would serve what is not proven, and nobody would notice
        raise UsageError(f"{name}={value}: give true or false")
    return value.lower() == "true"


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value)):
        raise UsageError(f"{name}={value}: give a whole number of at least 1")
    return int(value)
