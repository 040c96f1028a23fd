"""Describes in words what became of an artifact."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mnist_edge.common.text import count, data_name, percent, points
from mnist_edge.dataset import Dataset
from mnist_edge.proof.parity import ParityReport, batches_checked

if TYPE_CHECKING:
    from exporters import LayerCost


def describe_report(report: ParityReport, data: Dataset) -> str:
    """Return a report as a few lines for a person."""
    lines = [
        f"  {'passed' if report else 'FAILED'} on {count(report.images, 'test image')} of {data_name(data.name)}, "
        f"in batches of {', '.join(map(str, batches_checked(report.images)))}",
        f"  same answer      {report.equal_answers:,} of {report.images:,}{_needed(report)}",
        f"  logit difference {report.max_difference:.2g} at most, 99th percentile {report.p99_difference:.2g}{_allowed(report)}",
        f"  smallest margin  {report.smallest_margin:.2g} between PyTorch's two largest logits",
        f"  accuracy         {percent(report.accuracy)}, PyTorch {percent(report.reference_accuracy)}{_allowed_drop(report)}",
        *([] if report.budget.logit_difference is not None else [_confidence(report)]),
        *_would_pass(report),
    ]
    if report.changed:
        more = "" if len(report.changed) <= 20 else f" and {len(report.changed) - 20} more"
        lines.append(f"  changed          images {', '.join(map(str, report.changed[:20]))}{more}")
    return "\n".join(lines + [f"  because          {reason}" for reason in _collapsed(report.failures)])


def describe_measured(measured: Mapping[str, int]) -> str:
    """Return what an artifact took where its runtime tells, such as an emulated chip, in words."""
    words = {
        "instructions": "{:,} instructions an image",
        "flash_bytes": "{:,} bytes of flash",
        "ram_bytes": "{:,} bytes of RAM",
    }
    return ", ".join(words[name].format(measured[name]) for name in words if name in measured)


def _needed(report: ParityReport) -> str:
    return "" if report.budget.equal_answers == 1 else f"; at least {percent(report.budget.equal_answers)} must be"


def _allowed(report: ParityReport) -> str:
    return "" if report.budget.logit_difference is None else f"; allowed {report.budget.logit_difference:g}"


def _allowed_drop(report: ParityReport) -> str:
    return f"; may fall by {100 * report.budget.accuracy_drop:g} points" if 0 < report.budget.accuracy_drop < 1 else ""


def _confidence(report: ParityReport) -> str:
    return (
        f"  confidence       {points(report.confidence_change)} points on average, 99th percentile {100 * report.p99_confidence_change:.2f}"
    )


def _would_pass(report: ParityReport) -> Iterator[str]:
    """Yield the tolerance that would pass, if there is one. For a failed report, only if nothing but the tolerance was missed."""
    tolerance, allowed = report.smallest_tolerance, report.budget.logit_difference
    if tolerance is not None and allowed is not None and (report or tolerance > allowed):
        yield f"  would pass at    a tolerance of {tolerance:.2g}"


def _collapsed(failures: Iterable[str]) -> Iterator[str]:
    """Yield each reason once, with all the batch sizes that it applies to."""
    batches: dict[str, list[str]] = {}
    for failure in failures:
        found = re.fullmatch(r"batch(?:es)? of ([\d, and]+): (.*)", failure, re.DOTALL)
        sizes, reason = found.groups() if found else ("", failure)
        batches.setdefault(reason, []).extend(re.findall(r"\d+", sizes))
    for reason, sizes in batches.items():
        yield f"batches of {', '.join(sizes)}: {reason}" if sizes else reason


def describe_costs(costs: "Sequence[LayerCost]") -> str:
    """Return lines to follow a report: the layers where a refused precision costs most, and what to try. Empty if there are none."""
    costly = [cost for cost in costs if cost.added > 0][:3]
    if not costly:
        return ""
    lines = [f"  costs most       {cost.layer}: adds {100 * cost.added:.1f} % of error to its tensor" for cost in costly]
    module = costly[0].layer.split("/")[0]
    return "\n" + "\n".join([*lines, f"  try              --keep-float {module}"])
