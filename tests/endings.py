"""Networks that end in something after their last layer, or whose last layer is not a Linear."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class LogSoftmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(784, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return functional.log_softmax(self.last(torch.relu(self.first(x.flatten(1)))), dim=1)


class EndsInSum(LogSoftmax):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.last(torch.relu(self.first(x.flatten(1)))) + 5)


class EndsInRelu(LogSoftmax):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.last(torch.relu(self.first(x.flatten(1)))))


class Pooled(nn.Module):
    """All convolutions: the logits are the mean of ten maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 16, 5, stride=2), nn.Conv2d(16, 10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(self.last(torch.relu(self.first(x))), 10).flatten(1)


class OwnProduct(nn.Module):
    """A product and a sum of its own, which ONNX Runtime makes one operator of before it quantizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(784, 32)
        self.weight, self.bias = nn.Parameter(torch.randn(32, 10) * 0.1), nn.Parameter(torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = torch.relu(self.first(x.flatten(1))) @ self.weight + self.bias
        return product


class TwoHeads(LogSoftmax):
    """Two last layers, whose logits are added."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        logits: Tensor = self.last(torch.relu(self.first(x))) + self.other(x)
        return logits
