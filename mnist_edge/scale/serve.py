"""A model on Ray Serve: ``serve run mnist_edge.scale.serve:app model=lenet``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ray import serve
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from mnist_edge.common.errors import PictureError, UsageError
from mnist_edge.image import MAX_BYTES
from mnist_edge.predictor import Predictor

#: What ``serve run`` may be given after the app's name, with what stands for nothing.
ARGUMENTS = {"model": "", "runtime": "ort", "replicas": "1", "require_proof": "false"}


class Digits:
    """POST a picture's bytes, of any format that `mnist-edge predict` reads, and get its answer as JSON. GET says that the model is ready."""

    def __init__(self, model: str | None, runtime: str, require_proof: bool) -> None:
        self._predictor = Predictor.load(model, runtime, require_proof=require_proof)

    def check_health(self) -> None:
        """Answer a black image: Ray Serve replaces a replica that raises here."""
        import numpy as np

        self._predictor.logits(np.zeros((1, 1, 28, 28), np.uint8))

    async def __call__(self, request: Request) -> Response:
        """Answer a request: 200, 400 for what is no picture, 405, or 413 for one that is too large."""
        if request.method == "GET":
            return JSONResponse({"ready": True, "model": self._predictor.description})
        if request.method != "POST":
            return JSONResponse({"error": f"{request.method} is not answered here; POST a picture"}, 405, {"Allow": "GET, POST"})
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BYTES:
                    return JSONResponse({"error": f"more than {MAX_BYTES // 2**20} MiB"}, 413)
        except ClientDisconnect:
            return Response(status_code=400)
        try:
            found = await asyncio.to_thread(self._predictor.predict, bytes(body))
        except PictureError as error:
            return JSONResponse({"error": str(error)}, 400)
        return Response(json.dumps(found.to_json()), media_type="application/json")


def app(arguments: dict[str, Any]) -> serve.Application:
    """Return the application for ``serve run`` or ``serve.run``. Raises UsageError for arguments that are not in `ARGUMENTS`."""
    if unknown := arguments.keys() - ARGUMENTS.keys():
        raise UsageError(f"unknown argument {min(unknown)}; known: {', '.join(ARGUMENTS)}")
    given = ARGUMENTS | {key: str(value) for key, value in arguments.items()}
    deployment = serve.deployment(Digits, num_replicas=int(given["replicas"]), ray_actor_options={"num_cpus": 1})
    return deployment.bind(given["model"] or None, given["runtime"], given["require_proof"].lower() == "true")
