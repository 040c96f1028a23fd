"""Networks of somebody's own, each with a fault of its own, and a sound one."""

import random
import sys

import torch
from torch import Tensor, nn


class Sound(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.flatten(1))
        return logits

    def forward(self, x: Tensor) -> object:
        return self.logits(x)


class Grouped(nn.Module):
    """Sound, with a convolution in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 5, stride=3), nn.Conv2d(2, 2, 3, groups=2)
        self.fc = nn.Linear(72, 10)

    def forward(self, x: Tensor) -> object:
        return self.fc(self.second(self.first(x)).flatten(1))


class Raises(Sound):
    def forward(self, x: Tensor) -> object:
        raise KeyError("pixel")  # raised here


class Exits(Sound):
    def forward(self, x: Tensor) -> object:
        sys.exit(0)


class ExitsWhenBuilt(Sound):
    def __init__(self) -> None:
        super().__init__()
        sys.exit(0)


class WrongWidth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(783, 10)

    def forward(self, x: Tensor) -> object:
        return self.fc(x.flatten(1))


class Eleven(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 11)


class TupleWhileTraining(Sound):
    def forward(self, x: Tensor) -> object:
        return (self.logits(x), x) if self.training else self.logits(x)


class TupleInEval(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits(x) if self.training else (self.logits(x), x)


class Half(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits(x).half()


class Double(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits(x) if self.training else self.logits(x).double()


class Softmax(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits(x).softmax(dim=1)


class Noisy(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits(x) + torch.rand(10)


class NoisyBehindZeros(Sound):
    """Its last layer starts at zero, so that nothing shows before a step of training."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> object:
        return self.logits(nn.functional.dropout(x))


class Counts(Sound):
    calls = 0

    def forward(self, x: Tensor) -> object:
        self.calls += 1
        return self.logits(x) + self.calls


class BatchStatistics(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits(x - x.mean(dim=0))


class Bright(Sound):
    def forward(self, x: Tensor) -> object:
        y = self.logits(x)
        if x.mean() > 0.5:  # a branch on the values
            y = y * 2
        return y


class Three(Sound):
    def forward(self, x: Tensor) -> object:
        y = self.logits(x)
        if x.shape[0] == 3:  # a branch on the batch's size
            y = y * 2
        return y


class UpToHundred(Sound):
    def forward(self, x: Tensor) -> object:
        y = self.logits(x)
        if x.shape[0] > 100:  # another branch on it
            y = y * 2
        return y


class Assigns(Sound):
    def forward(self, x: Tensor) -> object:
        self.seen = x.mean()  # state, set while it is exported
        return self.logits(x)


class Divides(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits((x - x.mean(dim=(1, 2, 3), keepdim=True)) / x.std(dim=(1, 2, 3), keepdim=True))


class Mask(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.mask = torch.rand(10)

    def forward(self, x: Tensor) -> object:
        return self.logits(x) * self.mask


class Buffer(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.register_buffer("mask", torch.rand(10), persistent=False)

    def forward(self, x: Tensor) -> object:
        return self.logits(x) * self.inner.mask


class Number(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.factor = random.random()

    def forward(self, x: Tensor) -> object:
        return self.logits(x) * self.factor


class Remembers(Sound):
    """Keeps a running mean that is not saved, and uses it late: only after more steps than are tried beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.mean = 0, torch.zeros(())

    def forward(self, x: Tensor) -> object:
        if self.training:
            self.steps, self.mean = self.steps + 1, 0.9 * self.mean + 0.1 * x.detach().mean()
        return self.logits(x - self.mean) if self.steps > 5 else self.logits(x)


class Norm(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(784)

    def forward(self, x: Tensor) -> object:
        return self.logits(self.norm(x.flatten(1)))


class Frozen(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class Empty(nn.Module):
    def forward(self, x: Tensor) -> object:
        return x.flatten(1)[:, :10]


class Detached(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits(x).detach()


class Recurrent(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.last = nn.GRU(28, 8, batch_first=True), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> object:
        return self.last(self.gru(x.squeeze(1))[0][:, -1])


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.LazyLinear(10)

    def forward(self, x: Tensor) -> object:
        return self.fc(x.flatten(1))


class NoMemory(Sound):
    def forward(self, x: Tensor) -> object:
        return self.logits(x) + torch.zeros(2**60)[:10]


class Draws(Sound):
    """Random as it is built and as it is trained, from all three sources."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(1 + random.random() + float(torch.rand(()))))

    def forward(self, x: Tensor) -> object:
        return self.logits(nn.functional.dropout(x, training=self.training)) * self.factor


class BreaksLater(Sound):
    """Raises in its 30th step, or where `fails` says: in its backward pass, or for want of memory."""

    def __init__(self, fails: str = "forward") -> None:
        super().__init__()
        self.steps, self.fails = 0, fails

    def forward(self, x: Tensor) -> object:
        y = self.logits(x)
        if self.training:
            self.steps += 1
            if self.steps == 30:
                if self.fails == "forward":
                    raise ZeroDivisionError("by zero")
                if self.fails == "exit":
                    sys.exit(0)
                if self.fails == "memory":
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
                y.register_hook(self._break)
        return y

    def _break(self, gradient: Tensor) -> None:
        raise ValueError("on the way back")
