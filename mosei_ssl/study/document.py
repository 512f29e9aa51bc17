"""A small document of paragraphs, tables and figures, rendered as HTML or Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2


@dataclass
class Table:
    """Rows of text under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass
class Figure:
    """A drawing; `name` is that of its file, without suffix."""

    name: str
    svg: str
    caption: str = ""


@dataclass
class Code:
    """Preformatted text."""

    text: str


Block = str | Table | Figure | Code


@dataclass
class Section:
    """A titled part of the document; plain strings are paragraphs."""

    title: str
    blocks: Sequence[Block]


def render(kind: str, title: str, sections: Sequence[Section], stamp: str = "") -> str:
    """Render a document as one "html" file, or as "md" with figures/NAME.svg, with a stamp."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mosei_ssl.study"),
        autoescape=kind == "html",
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template(f"report.{kind}.j2")
    text = template.render(title=title, sections=sections, stamp=stamp)
    return text.rstrip() + "\n"
