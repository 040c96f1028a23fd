"""A parity report in words."""

from mnist_edge.dataset import Dataset
from mnist_edge.parity import ParityReport, batches_checked


def describe_report(report: ParityReport, data: Dataset) -> str:
    """Return a report as a few lines for a person."""
    tolerance = report.smallest_tolerance
    lines = [
        f"  {'passed' if report else 'FAILED'} on {report.images:,} test images of {data.name}, in batches of {', '.join(map(str, batches_checked(report.images)))}",
        f"  same answer      {report.equal_answers:,} of {report.images:,}",
        f"  logit difference {report.max_difference:.2g} at most, 99th percentile {report.p99_difference:.2g}; allowed {report.budget.logit_difference:g}",
        f"  smallest margin  {report.smallest_margin:.2g} between PyTorch's two largest logits",
        f"  accuracy         {report.accuracy:.2%}, PyTorch {report.reference_accuracy:.2%}",
        f"  would pass at    {'no tolerance' if tolerance is None else f'a tolerance of {tolerance:.2g}'}",
    ]
    if report.changed:
        more = "" if len(report.changed) <= 20 else f" and {len(report.changed) - 20} more"
        lines.append(f"  changed          images {', '.join(map(str, report.changed[:20]))}{more}")
    return "\n".join(lines + [f"  because          {failure}" for failure in report.failures])
