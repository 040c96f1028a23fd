"""The shortest script that reads a digit with the network in PyTorch, as the tutorial has it."""

import sys

from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms

from mnist_edge.architectures.lenet import LeNet

transform = transforms.Compose(
    [transforms.Grayscale(), transforms.Resize((28, 28)), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
)
network = LeNet()
network.load_state_dict(load_file(sys.argv[2]))
print(int(network.eval()(transform(Image.open(sys.argv[1])).unsqueeze(0)).argmax()))
