"""Train the small network that tells a digit from what is none: letters, signs, scribbles, two digits as one, half of one.

    python benchmarks/no_digit.py [--data-dir FOLDER] [--seed 0] [--epochs 12]

Writes mnist_edge/reading/no_digit.npz. Digits are MNIST's training images, less every twelfth, and drawn ones; what is no digit is drawn here
(`no_digit_shapes`), or made from MNIST's training images: pairs pushed together, slices, digits on their side. Prints JSON: how many
held-out digits are kept, and how much of each kind of the rest is refused, where the score is at least 0.5. Needs torch; takes minutes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from matplotlib import get_data_path
from no_digit_shapes import OTHERS, PRINTED_LETTERS, PRINTED_SIGNS, SIGNS
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import nn
from torch.nn import functional

from mnist_edge import dataset
from mnist_edge.dataset import drawn
from mnist_edge.dataset.shapes import Stroke
from mnist_edge.image.strokes import BOX, FINE, fit, place, scaled, stroke_width, thicken

FILE = Path(__file__).resolve().parents[1] / "mnist_edge" / "reading" / "no_digit.npz"

#: Fonts with the alphabet. To measure with others, give made_pages.py a folder of them.
FONTS = sorted(
    path
    for path in (Path(get_data_path()) / "fonts" / "ttf").glob("*.ttf")
    if not path.name.startswith(("cmex", "cmmi", "cmsy", "STIXNonUni", "STIXSiz", "DejaVuSansDisplay", "DejaVuSerifDisplay", "LastResort"))
)
_WITH_SIGNS = [path for path in FONTS if not path.name.startswith("cm")]  # TeX's have others where Unicode has these

Pixels = NDArray[np.uint8]
Random = np.random.Generator


def placed(drawing: Pixels) -> Pixels:
    """Return a drawing as the network would see it, thin pens thickened."""
    fine = scaled(drawing, BOX * FINE)
    return place(fit(thicken(fine, stroke_width(fine) / FINE)))


def strokes(shapes: dict[str, list[list[Stroke]]], count: int, random: Random) -> Pixels:
    """Draw letters or signs, so many of each way of writing one."""
    ways = [way for ways in shapes.values() for way in ways]
    return drawn._centre(np.concatenate([drawn._draw_shape(way, count, random) for way in ways]))


def printed(texts: str, count: int, random: Random) -> Pixels:
    """Print `count` images of each word of `texts`, in fonts that come with matplotlib, 24 to 119 pixels high, a little slanted and blurred."""
    found = []
    for text in texts.split():
        fonts = FONTS if text.isalnum() else _WITH_SIGNS
        for _ in range(count):
            size = int(random.integers(24, 120))
            font = ImageFont.truetype(str(fonts[random.integers(len(fonts))]), size)
            sheet = Image.new("L", ((len(text) + 1) * 2 * size, 3 * size))
            pen = int(random.integers(0, 1 + size // 20))
            ImageDraw.Draw(sheet).text((size, size), text, 255, font, stroke_width=pen)
            lean = random.normal(0, 0.08)
            sheet = sheet.transform(sheet.size, Image.Transform.AFFINE, (1, lean, -lean * size, 0, 1, 0), Image.Resampling.BILINEAR)
            soft = sheet.rotate(random.normal(0, 3), Image.Resampling.BILINEAR).filter(
                ImageFilter.GaussianBlur(random.uniform(0, size / 40))
            )
            pixels = np.asarray(soft)
            if (pixels > 100).sum() > 12:  # a font may lack a sign
                found.append(placed(_cut(pixels)))
    return np.stack(found)


def scribbles(count: int, random: Random) -> Pixels:
    """Draw strokes through random points."""
    found = []
    for _ in range(count):
        way = [[tuple(point) for point in random.random((random.integers(2, 9), 2))] for _ in range(random.integers(1, 4))]
        found.append(drawn._draw_shape(way, 1, random))
    return drawn._centre(np.concatenate(found))


def blots(count: int, random: Random) -> Pixels:
    """Make patches and specks: blurred noise above a level."""
    found = []
    while len(found) < count:
        side = int(random.integers(12, 80))
        noise = Image.fromarray(random.integers(0, 256, (side, int(side * random.uniform(0.4, 2.5))), dtype=np.uint8))
        values = np.asarray(noise.filter(ImageFilter.GaussianBlur(random.uniform(0.8, 6)))).astype(np.float64)
        level = np.quantile(values, random.uniform(0.3, 0.85))
        drawing = ((values > level) * 255).astype(np.uint8)
        if (drawing > 100).sum() > 12:
            found.append(placed(drawing))
    return np.stack(found)


def _cut(image: Pixels) -> Pixels:
    rows, columns = np.flatnonzero((image > 60).any(axis=1)), np.flatnonzero((image > 60).any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def pairs(images: Pixels, count: int, random: Random) -> Pixels:
    """Put two digits, some times three, side by side, near or touching."""
    found = []
    for _ in range(count):
        sheet, right = np.zeros((60, 120), np.uint8), 4
        for _ in range(2 if random.random() < 0.85 else 3):
            one = _cut(images[random.integers(len(images))])
            factor = random.uniform(0.75, 1.15)
            one = np.asarray(Image.fromarray(one).resize((max(2, round(one.shape[1] * factor)), round(one.shape[0] * factor))))
            left, top = max(0, right + int(random.integers(-4, 4))), int(random.integers(14, 24))
            box = sheet[top : top + one.shape[0], left : left + one.shape[1]]
            np.maximum(box, one[: box.shape[0], : box.shape[1]], out=box)
            right = left + one.shape[1]
        found.append(placed(_cut(sheet)))
    return np.stack(found)


def sliced(images: Pixels, count: int, random: Random) -> Pixels:
    """Cut digits down, or slanted, and take one side, if it is not as narrow as a 1."""
    found: list[Pixels] = []
    y, x = np.mgrid[:28, :28]
    while len(found) < count:
        image = images[random.integers(len(images))]
        columns = np.flatnonzero((image > 60).any(axis=0))
        at = columns[0] + (columns[-1] - columns[0]) * random.uniform(0.35, 0.65)
        side = (x + (y - 14) * random.normal(0.1, 0.25) > at) ^ (random.random() < 0.5)
        part = image * side
        if (part > 100).sum() < 15:
            continue
        part = _cut(part.astype(np.uint8))
        if part.shape[1] >= 0.4 * part.shape[0]:
            found.append(placed(part))
    return np.stack(found)


def broken(images: Pixels, count: int, random: Random) -> Pixels:
    """Break the strokes of digits, as removing a ruled line does: fade one or two bands across each."""
    found: list[Pixels] = []
    while len(found) < count:
        image = images[random.integers(len(images))].copy()
        for _ in range(random.integers(1, 3)):
            plane = image if random.random() < 0.5 else image.T
            at, width = int(random.integers(6, 21)), int(random.integers(1, 3))
            plane[at : at + width] = (plane[at : at + width] * random.uniform(0, 0.4)).astype(np.uint8)
        if (image > 100).sum() > 12:
            found.append(placed(_cut(image)))
    return np.stack(found)


def turned(images: Pixels, labels: NDArray[np.uint8], count: int, random: Random) -> Pixels:
    """Lay digits on their side; 0, 1 and 8 are left out, which are something there as well."""
    where = random.permutation(np.flatnonzero(~np.isin(labels, (0, 1, 8))))[:count]
    return np.stack([placed(np.ascontiguousarray(np.rot90(images[i], 1 if random.random() < 0.5 else 3))) for i in where])


class Net(nn.Module):
    """28×28 → three logits: a digit, a sign, something else."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 12, 5, stride=2), nn.Conv2d(12, 24, 3, stride=2)
        self.third, self.last = nn.Linear(600, 32), nn.Linear(32, 3)
        self.dropout = nn.Dropout(0.2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits, N×3, for pixels from 0 to 1, N×1×28×28."""
        x = functional.relu(self.second(functional.relu(self.first(pixels))))
        return self.last(self.dropout(functional.relu(self.third(x.flatten(1)))))


def _moved(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    n = len(pixels)
    r = torch.randn(n, 5, generator=generator)
    turn, sx, sy, shear = r[:, 0] * 0.09, 1 + r[:, 1] * 0.1, 1 + r[:, 2] * 0.07, r[:, 3] * 0.15
    c, s = torch.cos(turn), torch.sin(turn)
    move = (torch.rand(n, 2, generator=generator) - 0.5) * 0.1
    broad = torch.rand(n, 1, 1, 1, generator=generator) < 0.15  # a broad pen
    pixels = torch.where(broad, functional.max_pool2d(pixels, 3, 1, 1), pixels)
    rows = [torch.stack([c * sx, (-s + shear) * sy, move[:, 0]], 1), torch.stack([s * sx, c * sy, move[:, 1]], 1)]
    return functional.grid_sample(
        pixels, functional.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False), align_corners=False
    )


def main() -> None:
    """Make the images, train, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=FILE)
    parser.add_argument("--epochs", type=int, default=14)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    data = dataset.load("mnist", "train", data_dir=options.data_dir)
    mnist, labels = data.images[:, 0], data.labels
    held = np.arange(len(mnist)) % 12 == 0
    own = drawn.draw("train", 60_000, seed=options.seed + 7, hands="many")
    digits = printed("0 1 2 3 4 5 6 7 8 9", 1500, random)
    signs = np.concatenate([strokes(SIGNS, 450, random), printed(PRINTED_SIGNS, 700, random)])
    others = {
        "letters": strokes(OTHERS, 350, random),
        "printed": printed(PRINTED_LETTERS, 300, random),
        "scribbles": scribbles(6000, random),
        "blots": blots(6000, random),
        "pairs": pairs(mnist[~held], 26_000, random),
        "slices": sliced(mnist[~held], 9000, random),
        "turned": turned(mnist[~held], labels[~held], 7000, random),
    }
    kinds = [
        np.concatenate([mnist[~held], own.images[:, 0], digits, broken(mnist[~held], 8000, random)]),
        signs,
        np.concatenate(list(others.values())),
    ]
    x = torch.from_numpy(np.concatenate(kinds))[:, None]
    t = torch.repeat_interleave(torch.arange(3), torch.tensor([len(kind) for kind in kinds]))
    net, generator = Net(), torch.Generator().manual_seed(options.seed)
    batch, steps = 256, len(x) // 256
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=options.epochs * steps)
    for epoch in range(options.epochs):
        order, total = torch.randperm(len(x), generator=generator), 0.0
        for step in range(steps):
            where = order[step * batch : (step + 1) * batch]
            loss = functional.cross_entropy(
                net(_moved(x[where].float() / 255, generator)), t[where], torch.tensor([1.5, 1.0, 1.0]), label_smoothing=0.02
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(json.dumps({"epoch": epoch, "loss": round(total / steps, 4)}), flush=True)
    net.eval()

    def share(images: Pixels) -> float:
        with torch.no_grad():
            return round(float((net(torch.from_numpy(images)[:, None].float() / 255).argmax(1) == 0).float().mean()), 4)

    fresh = np.random.default_rng(options.seed + 1)
    kept = {"held-out digits": share(mnist[held]), "drawn digits": share(drawn.draw("test", 5000, seed=3, hands="many").images[:, 0])}
    kept["broken digits"] = share(broken(mnist[held], 2000, fresh))
    kept["printed digits"] = share(printed("0 1 2 3 4 5 6 7 8 9", 100, fresh))
    taken = {
        "letters": share(strokes(OTHERS, 30, fresh)),
        "signs": share(strokes(SIGNS, 30, fresh)),
        "printed signs": share(printed(PRINTED_SIGNS, 50, fresh)),
        "printed letters": share(printed(PRINTED_LETTERS, 20, fresh)),
        "scribbles": share(scribbles(1000, fresh)),
        "blots": share(blots(1000, fresh)),
        "pairs": share(pairs(mnist[held], 2000, fresh)),
        "slices": share(sliced(mnist[held], 2000, fresh)),
        "turned": share(turned(mnist[held], labels[held], 2000, fresh)),
    }
    print(json.dumps({"kept": kept, "taken for digits": taken}))
    names = {"first": "first", "second": "second", "third": "third", "last": "last"}
    arrays = {}
    for name in names:
        layer = getattr(net, name)
        arrays |= {
            f"{name}.weight": layer.weight.detach().numpy().astype(np.float16),
            f"{name}.bias": layer.bias.detach().numpy().astype(np.float16),
        }
    with options.output.open("wb") as file:
        np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    main()
