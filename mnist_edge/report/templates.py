"""Fills the templates of pages and cards, which are beside this file. Every value is shown literally (needs jinja2)."""

from pathlib import Path
from typing import Any

from mnist_edge.common.errors import printable
from mnist_edge.common.extras import require


def render(template: str, **values: Any) -> str:
    """Fill a template. In a ``.html`` template, no value can add a tag; in no template can it add a control character. Raises MissingExtraError."""
    require("drawing a report", "jinja2")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)


def _shown(value: Any) -> Any:
    return printable(value) if type(value) is str and not value.isprintable() else value
