"""The pictures of a report, each in the colours of a theme, as PNG bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_edge.common.text import count
from mnist_edge.common.text import size as file_size
from mnist_edge.report.theme import LIGHT, Theme, bare, canvas, readable_on, shades, to_png
from mnist_edge.store.manifest import Artifact

if TYPE_CHECKING:
    from mnist_edge.report.findings import Bin, Findings  # a training draws its curves, and needs no predictor for that

#: The largest number of wrong answers that are drawn.
MOST_WRONG = 24

#: How many writers are drawn, and how many digits of each.
MOST_WRITERS, MOST_DIGITS = 8, 22


def curves(history: Sequence[dict[str, Any]], title: str, theme: Theme = LIGHT) -> bytes:
    """Draw loss and accuracy by epoch; `history` holds the fields of `training.loop.Epoch`."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    epochs = [row["epoch"] for row in history]
    style: dict[str, Any] = {"marker": "o", "markersize": 3 if len(epochs) <= 40 else 0, "linewidth": 1.6}
    with canvas(theme, 9, 3.3) as figure:
        loss, accuracy = figure.subplots(1, 2)
        for axes, key, scale in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
            axes.plot(epochs, [scale * row[key] for row in history], color=theme.first, label="training", **style)
            axes.plot(epochs, [scale * row[f"validation_{key}"] for row in history], color=theme.second, label="held out", **style)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set(xlabel="epoch", xlim=(0.5, epochs[-1] + 0.5))
            axes.grid(axis="y")
        last = history[-1]
        loss.set(title=f"loss: {last['loss']:.3g} training, {last['validation_loss']:.3g} held out", yscale="log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        loss.yaxis.set_minor_formatter(NullFormatter())
        accuracy.set_title(f"accuracy: {100 * last['accuracy']:.2f} % training, {100 * last['validation_accuracy']:.2f} % held out")
        low = min(min(row["accuracy"], row["validation_accuracy"]) for row in history[len(history) // 10 :])
        accuracy.set_ylim(100 * low - 0.05 * (100 - 100 * low) - 0.01, 100 + 0.03 * (100 - 100 * low) + 0.01)
        accuracy.legend(loc="lower right")
        figure.suptitle(title, x=0.012, ha="left", fontsize=11, color=theme.text)
        return to_png(figure)


def confusion(findings: Findings, theme: Theme = LIGHT) -> bytes:
    """Draw how often each digit was read as which digit: mistakes in colour, the stronger the more, right answers as plain numbers."""
    from matplotlib.colors import to_hex

    counts = findings.evaluation.confusion
    mistakes = counts - np.diag(counts.diagonal())
    most = max(1, int(mistakes.max()))
    with canvas(theme, 6.4, 5.9) as figure:
        axes = figure.subplots()
        # by the square root, so that a single mistake is visible beside twenty
        strengths, colours = np.sqrt(mistakes / most), shades(theme.paper, theme.second)
        axes.imshow(strengths, cmap=colours, vmin=0, vmax=1)
        for row in range(10):
            for column in range(10):
                count = int(counts[row, column])
                if row == column:
                    axes.text(column, row, f"{count:,}", ha="center", va="center", color=theme.first, fontsize=8.5)
                elif count:
                    colour = readable_on(to_hex(colours(strengths[row, column])), theme)
                    axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9.5, fontweight="bold")
        for edge in np.arange(-0.5, 10):
            axes.axhline(edge, color=theme.rule, linewidth=0.6, clip_on=False)
            axes.axvline(edge, color=theme.rule, linewidth=0.6, clip_on=False)
        bare(axes)
        totals = counts.sum(axis=1)
        axes.set_yticks(range(10), [str(digit) for digit in range(10)], fontsize=11)
        axes.set_xticks(range(10), [str(digit) for digit in range(10)], fontsize=11)
        axes.tick_params(length=0, labelcolor=theme.text)
        axes.set(xlabel="read as", ylabel="is")
        for digit in range(10):
            share = f"{100 * counts[digit, digit] / totals[digit]:.2f} %" if totals[digit] else "–"
            axes.text(9.7, digit, share, va="center", fontsize=8.5, color=theme.faint)
        wrong = len(findings.evaluation.wrong)
        axes.set_title(f"{wrong:,} of {len(findings.data):,} misread; on the right, the share read correctly")
        figure.suptitle(findings.model.name, x=0.012, ha="left", fontsize=11, color=theme.text)
        return to_png(figure)


def mistakes(findings: Findings, theme: Theme = LIGHT) -> bytes:
    """Draw the most confident wrong answers, each with the true digit, the answer and the confidence."""
    indices = findings.wrong()
    shown = indices[:MOST_WRONG]
    columns = min(8, max(3, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    with canvas(theme, 9 * columns / 8, 0.5 + 1.45 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            bare(axes)
        for axes, index in zip(grid, shown, strict=False):
            label, answer = findings.data.labels[index], findings.evaluation.answers[index]
            _draw_digit(axes, findings, index, theme)
            axes.set_title(f"{label} read as {answer}", fontsize=9, loc="center", pad=4, color=theme.second)
            axes.set_xlabel(f"{_sure(findings, index)}   #{index:,}", fontsize=7.5, labelpad=3)
        rest = f"the {len(shown)} most confident of {len(indices):,} wrong answers" if len(indices) > len(shown) else "all wrong answers"
        figure.suptitle(rest if indices else "no wrong answer", x=0.012, ha="left", fontsize=10, color=theme.text)
        return to_png(figure)


def writers(findings: Findings, theme: Theme = LIGHT) -> bytes:
    """Draw the digits of the writers that are read worst, a row a writer: all of them, or the wrong ones and the first others."""
    shown = [one for one in findings.hands[:MOST_WRITERS] if one.wrong]
    columns = min(MOST_DIGITS, max((len(one.images) for one in shown), default=1))
    rows = max(1, len(shown))
    wide, high, above = 31, 46, 15  # a digit's place, and of it what lies above the digit, in its pixels
    sheet = np.ma.array(np.zeros((rows * high, columns * wide)), mask=True)  # one image: a field for each digit takes ten times as long
    with canvas(theme, 9, 0.15 + 0.57 * rows) as figure:
        axes = figure.subplots()
        bare(axes)
        for row, one in enumerate(shown):
            others = [index for index in one.images if index not in one.wrong]
            chosen = sorted([*one.wrong, *others[: max(0, columns - len(one.wrong))]][:columns])
            for column, index in enumerate(chosen):
                top, left = row * high + above, column * wide
                sheet[top : top + 28, left : left + 28] = findings.data.images[index, 0]
                if index in one.wrong:
                    answer = str(findings.evaluation.answers[index])
                    axes.text(left + 14, top - 3, answer, fontsize=8, ha="center", va="bottom", color=theme.second)
        axes.imshow(sheet, cmap=shades(theme.panel, theme.text), vmin=0, vmax=255, interpolation="nearest")
        names = [f"{one.group} {one.writer}\n{len(one.images) - len(one.wrong)} of {len(one.images)}" for one in shown]
        middles = [row * high + above + 14 for row in range(len(shown))]
        axes.set_yticks(middles, names, fontsize=7.5)
        axes.tick_params(length=0)
        return to_png(figure)


def samples(findings: Findings, theme: Theme = LIGHT) -> bytes:
    """Draw the first nine images of the test set, 3×3, with truth and answer."""
    with canvas(theme, 4.2, 5.1, row_gap=0.06) as figure:
        for index, axes in enumerate(figure.subplots(3, 3).ravel()):
            bare(axes)
            if index >= len(findings.data):
                continue
            label, answer = findings.data.labels[index], findings.evaluation.answers[index]
            _draw_digit(axes, findings, index, theme)
            axes.set_title(
                f"{label}, read as {answer}",
                fontsize=9.5,
                loc="center",
                pad=4,
                color=theme.text if label == answer else theme.second,
            )
            axes.set_xlabel(_sure(findings, index), fontsize=8, labelpad=3)
        return to_png(figure)


def calibration(findings: Findings, theme: Theme = LIGHT) -> bytes:
    """For answers of about the same confidence, draw how many were right beside what their confidence promises."""
    bins = [one for one in findings.calibration() if one.answers]
    with canvas(theme, 9, 3.6) as figure:
        axes = figure.subplots()
        places = np.arange(len(bins))
        low, high = np.array([one.interval() for one in bins]).T
        shares = np.array([one.share for one in bins])
        axes.bar(places, 100 * shares, width=0.62, color=theme.first, alpha=0.9, label="answers that were right")
        axes.errorbar(
            places,
            100 * shares,
            yerr=100 * np.clip([shares - low, high - shares], 0, None),
            fmt="none",
            ecolor=theme.text,
            elinewidth=1,
            capsize=3,
            label="95 % interval",
        )
        promised = [100 * one.confidence for one in bins]
        axes.hlines(promised, places - 0.42, places + 0.42, color=theme.second, linewidth=2.4, label="what the confidence promises")
        axes.set_xticks(places, [f"{_bounds(one)}\n{count(one.answers, 'answer')}" for one in bins])
        axes.tick_params(length=0)
        for place, one in enumerate(bins):
            axes.text(place, 103, f"{100 * one.share:.2f} %", ha="center", fontsize=8, color=theme.faint)
        axes.set(ylim=(0, 111), yticks=range(0, 101, 20), ylabel="% right", xlabel="confidence of the answer")
        axes.grid(axis="y")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.3), ncols=3, borderaxespad=0)
        axes.set_title(f"expected calibration error {100 * findings.calibration_error():.2f} points, mean loss {findings.mean_loss():.4f}")
        return to_png(figure)


def artifacts(findings: Findings, theme: Theme = LIGHT) -> bytes:
    """Draw size and accuracy of each artifact, as proven when it was published, beside PyTorch's accuracy on the same data."""
    from matplotlib.ticker import MaxNLocator

    rows = sorted(findings.model.artifacts, key=lambda one: -one.bytes)
    with canvas(theme, 9, 1.1 + 0.42 * len(rows)) as figure:
        size, accuracy = figure.subplots(1, 2, sharey=True)
        names = [one.label for one in rows]
        bars = size.barh(names, [one.bytes / 1e3 for one in rows], color=theme.first, height=0.55)
        size.bar_label(bars, [file_size(one.bytes) for one in rows], padding=4, color=theme.text)
        size.set_title("size")
        size.margins(x=0.22)
        size.set_xticks([])
        size.spines["bottom"].set_visible(False)
        size.tick_params(length=0, labelcolor=theme.text)
        scores = [100 * one.parity["accuracy"] for one in rows]
        torch = 100 * findings.evaluation.accuracy
        here = [one for one in rows if not findings.elsewhere(one)]
        if here:
            accuracy.axvline(torch, color=theme.second, linewidth=1.6)
        accuracy.plot(scores, names, "o", color=theme.first, markersize=7)
        spread = max(0.05, 1.3 * max((abs(score - torch) for score in scores), default=0.0))
        for name, score, one in zip(names, scores, rows, strict=True):
            accuracy.annotate(
                _changed(one, score, findings.elsewhere(one)),
                (torch + 1.15 * spread, name),
                va="center",
                fontsize=8.5,
            )
        accuracy.set_xlim(torch - spread, torch + 3.4 * spread)
        accuracy.tick_params(axis="y", length=0)
        accuracy.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        accuracy.xaxis.set_major_formatter("{x:.2f}")
        accuracy.spines["left"].set_visible(False)
        accuracy.set_title(f"accuracy, %; the line: PyTorch, {torch:.2f} %" if here else "accuracy, %")
        return to_png(figure)


def _draw_digit(axes: Any, findings: Findings, index: int, theme: Theme) -> None:
    axes.imshow(findings.data.images[index, 0], cmap=shades(theme.panel, theme.text), vmin=0, vmax=255, interpolation="nearest")


def _sure(findings: Findings, index: int) -> str:
    confidence = float(findings.evaluation.confidences[index])
    return f"{100 * confidence:.1f} %" if confidence < 0.9995 else ">99.9 %"


def _bounds(one: Bin) -> str:
    if one.low == 0:
        return f"up to {100 * one.high:g} %"
    if one.high == 1:
        return f"above {100 * one.low:g} %"
    return f"{100 * one.low:g} to {100 * one.high:g} %"


def _changed(artifact: Artifact, score: float, elsewhere: str) -> str:
    changed = artifact.parity["images"] - artifact.parity["equal_answers"]
    answers = count(changed, "answer") if changed else "no answers"
    words = f"{score:.2f} %, {answers} changed"
    return f"{words} of {elsewhere}" if elsewhere else words
