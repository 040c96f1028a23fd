"""The shortest script that reads a digit with a TorchScript file."""

import sys

import numpy
import torch
from PIL import Image

pixels = torch.from_numpy(numpy.array(Image.open(sys.argv[1]).convert("L").resize((28, 28)), numpy.uint8)).reshape(1, 1, 28, 28)
print(int(torch.jit.load(sys.argv[2])(pixels).argmax()))
