"""The network in MLServer, as its documentation has a runtime of one's own."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Network(MLModel):
    """An ONNX file, run by ONNX Runtime with one thread."""

    async def load(self) -> bool:
        """Load the file that the model's settings name."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer pixels with logits."""
        pixels = NumpyCodec.decode_input(payload.inputs[0])
        (logits,) = self.session.run(None, {self.session.get_inputs()[0].name: pixels})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("logits", logits)])
