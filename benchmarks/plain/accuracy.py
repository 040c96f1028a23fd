"""What anyone can measure: the accuracy of ONNX files on MNIST's test set, with onnxruntime and numpy and nothing of this project.

python accuracy.py FOLDER_WITH_THE_IDX_FILES MODEL.onnx…
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

if len(sys.argv) < 3 or not (Path(sys.argv[1]) / "t10k-images-idx3-ubyte").is_file():
    sys.exit("usage: accuracy.py FOLDER MODEL.onnx…, where FOLDER holds t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, not gzipped")
raw = Path(sys.argv[1])
pixels = np.fromfile(raw / "t10k-images-idx3-ubyte", np.uint8, offset=16).reshape(-1, 1, 28, 28)
labels = np.fromfile(raw / "t10k-labels-idx1-ubyte", np.uint8, offset=8)
for path in sys.argv[2:]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    right = 0
    for start in range(0, len(pixels), 250):
        (logits,) = session.run(["logits"], {"pixels": pixels[start : start + 250]})
        right += int((logits.argmax(axis=1) == labels[start : start + 250]).sum())
    print(f"{right} of {len(pixels)} {path}", flush=True)
