"""Asks a server with the clients that others use. Run by test_clients.py, with the Python that has them: URL picture-as-raw-bytes."""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np

HOST = sys.argv[1].removeprefix("http://").rstrip("/")
PIXELS = np.frombuffer(Path(sys.argv[2]).read_bytes(), np.uint8).reshape(-1, 1, 28, 28)


def triton() -> dict[str, list]:
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    client = http.InferenceServerClient(HOST, concurrency=4)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("lenet")
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata("lenet")
    (version,) = about["versions"]
    assert client.is_model_ready("lenet", version) and client.get_model_metadata("lenet", version) == about
    assert [one["name"] for one in client.get_model_repository_index()] == ["lenet"]
    found = {}
    for sent in (True, False):
        given = http.InferInput("pixels", list(PIXELS.shape), "UINT8")
        given.set_data_from_numpy(PIXELS, binary_data=sent)
        for wanted in (None, True, False):
            outputs = None if wanted is None else [http.InferRequestedOutput("logits", binary_data=wanted)]
            for packing in (None, "gzip", "deflate"):
                packed = {"request_compression_algorithm": packing, "response_compression_algorithm": packing}
                reply = client.infer(
                    "lenet",
                    [given],
                    outputs=outputs,
                    request_id="mine",
                    model_version=version if sent else "",
                    **packed,
                )
                assert reply.get_response()["id"] == "mine" and reply.get_response()["model_version"] == version
                found[f"triton sent={sent} wanted={wanted} packing={packing}"] = reply.as_numpy("logits").tolist()
    waiting = [client.async_infer("lenet", [given]) for _ in range(8)]
    for number, one in enumerate(waiting):
        found[f"triton async {number}"] = one.get_result().as_numpy("logits").tolist()
    for wrong in ("other", "lenet"):
        bad = http.InferInput("image", list(PIXELS.shape), "UINT8")
        bad.set_data_from_numpy(PIXELS)
        try:
            client.infer(wrong, [bad])
        except InferenceServerException as error:
            text = str(error)
            assert ("no model 'other'" if wrong == "other" else "name has to be 'pixels'") in text, text
        else:
            raise AssertionError("no error")
    client.close()
    return found


async def triton_asyncio() -> dict[str, list]:
    import tritonclient.http.aio as http

    async with http.InferenceServerClient(HOST) as client:
        assert await client.is_server_ready()
        given = http.InferInput("pixels", list(PIXELS.shape), "UINT8")
        given.set_data_from_numpy(PIXELS)
        replies = await asyncio.gather(*(client.infer("lenet", [given]) for _ in range(8)))
        return {f"triton asyncio {number}": reply.as_numpy("logits").tolist() for number, reply in enumerate(replies)}


async def kserve() -> dict[str, list]:
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
    from kserve.protocol.infer_type import RequestedOutput

    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    base = f"http://{HOST}"
    assert await client.is_server_live(base) and await client.is_server_ready(base) and await client.is_model_ready(base, "lenet")
    found = {}
    for sent in (True, False):
        for wanted in (True, False):
            given = InferInput("pixels", list(PIXELS.shape), "UINT8")
            given.set_data_from_numpy(PIXELS, binary_data=sent)
            asked = InferRequest("lenet", [given], request_outputs=[RequestedOutput("logits", {"binary_data": wanted})])
            reply = await client.infer(base, asked, model_name="lenet")
            found[f"kserve sent={sent} wanted={wanted}"] = reply.outputs[0].as_numpy().tolist()
    return found


def others() -> None:
    import urllib.request

    from openapi_spec_validator import validate
    from prometheus_client.parser import text_string_to_metric_families

    document = json.load(urllib.request.urlopen(f"http://{HOST}/openapi.json"))
    validate(document)
    families = {one.name: one for one in text_string_to_metric_families(urllib.request.urlopen(f"http://{HOST}/metrics").read().decode())}
    assert families["mnist_edge_requests"].type == "counter" and families["mnist_edge_confidence"].type == "histogram"
    assert sum(sample.value for sample in families["mnist_edge_answers"].samples) >= len(PIXELS)


found = triton() | asyncio.run(triton_asyncio()) | asyncio.run(kserve())
others()
print(json.dumps(found))
