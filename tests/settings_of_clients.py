"""Run in build/clients: reads a file with Triton's own protobuf or KServe's own classes, and prints what they hold of it as JSON.

The two cannot be imported into one process: both declare the messages of the same protocol.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any


def triton(path: str) -> object:
    from google.protobuf import json_format, text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    config = text_format.Parse(Path(path).read_text("utf-8"), ModelConfig())  # refuses what it does not know
    return json_format.MessageToDict(config, preserving_proto_field_name=True)


def kserve(path: str) -> object:
    import yaml

    return held(built("V1beta1InferenceService", yaml.safe_load(Path(path).read_text("utf-8"))))


def built(kind: str, value: Any) -> Any:
    """Return a value as KServe declares it, an object of its class with objects in it. Raises ValueError for a field that it does not know."""
    import kserve.models
    import kubernetes.client.models

    if inner := re.fullmatch(r"(?i)(list|dict)[\[(](?:str, )?(.*)[\])]", kind):
        return (
            [built(inner[2], one) for one in value]
            if inner[1].lower() == "list"
            else {key: built(inner[2], one) for key, one in value.items()}
        )
    if kind in ("str", "int", "float", "bool", "object"):
        if kind != "object" and type(value).__name__ != kind:
            raise ValueError(f"{value!r} is no {kind}")
        return value
    chosen = getattr(kserve.models, kind, None) or getattr(kubernetes.client.models, kind)
    if not hasattr(chosen, "openapi_types"):  # Kubernetes' own, which check themselves
        return chosen.from_dict(value)
    fields = {theirs: ours for ours, theirs in chosen.attribute_map.items()}
    if unknown := value.keys() - fields.keys():
        raise ValueError(f"{kind} has no field {', '.join(unknown)}")
    return chosen(**{fields[key]: built(chosen.openapi_types[fields[key]], one) for key, one in value.items()})


def held(value: Any) -> Any:
    """Return what an object holds under the names that YAML has."""
    if isinstance(value, list):
        return [held(one) for one in value]
    if isinstance(value, dict):
        return {key: held(one) for key, one in value.items()}
    if hasattr(value, "openapi_types"):
        found = {theirs: getattr(value, ours) for ours, theirs in value.attribute_map.items()}
        return {key: held(one) for key, one in found.items() if one not in (None, "")}
    return value.to_dict() if hasattr(value, "to_dict") else value


if __name__ == "__main__":
    print(json.dumps({"triton": triton, "kserve": kserve}[sys.argv[1]](sys.argv[2])))
