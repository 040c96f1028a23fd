"""A parity report in words."""

from mnist_edge.dataset import Dataset
from mnist_edge.parity import ParityReport, batches_checked


def describe_report(report: ParityReport, data: Dataset) -> str:
    """Return a report as a few lines for a person."""
    tolerance = report.smallest_tolerance
    lines = [
        f"  {'passed' if report else 'FAILED'} on {report.images:,} test images of {data.name}, in batches of {', '.join(map(str, batches_checked(report.images)))}",
        f"  same answer      {report.equal_answers:,} of {report.images:,}{_needed(report)}",
        f"  logit difference {report.max_difference:.2g} at most, 99th percentile {report.p99_difference:.2g}{_allowed(report)}",
        f"  smallest margin  {report.smallest_margin:.2g} between PyTorch's two largest logits",
        f"  accuracy         {report.accuracy:.2%}, PyTorch {report.reference_accuracy:.2%}{_allowed_drop(report)}",
        *([] if report.budget.logit_difference is not None else [_confidence(report)]),
        *(
            []
            if report.budget.logit_difference is None
            else [f"  would pass at    {'no tolerance' if tolerance is None else f'a tolerance of {tolerance:.2g}'}"]
        ),
    ]
    if report.changed:
        more = "" if len(report.changed) <= 20 else f" and {len(report.changed) - 20} more"
        lines.append(f"  changed          images {', '.join(map(str, report.changed[:20]))}{more}")
    return "\n".join(lines + [f"  because          {failure}" for failure in report.failures])


def _needed(report: ParityReport) -> str:
    return "" if report.budget.equal_answers == 1 else f"; at least {report.budget.equal_answers:.2%} must be"


def _allowed(report: ParityReport) -> str:
    return "" if report.budget.logit_difference is None else f"; allowed {report.budget.logit_difference:g}"


def _allowed_drop(report: ParityReport) -> str:
    return f"; may fall by {100 * report.budget.accuracy_drop:g} points" if 0 < report.budget.accuracy_drop < 1 else ""


def _confidence(report: ParityReport) -> str:
    return f"  confidence       {100 * report.confidence_change:+.2f} points on average, 99th percentile {100 * report.p99_confidence_change:.2f}"
