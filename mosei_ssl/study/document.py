"""A small document of paragraphs, tables and figures, rendered as HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jinja2 import Environment


@dataclass
class Table:
    """A table.

    Args:
        header: Column titles.
        rows: Cells as text.
        caption: What it shows.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass
class Figure:
    """A figure.

    Args:
        name: File name without suffix.
        svg: The drawing.
        caption: What it shows.
    """

    name: str
    svg: str
    caption: str = ""


@dataclass
class Code:
    """Preformatted text.

    Args:
        text: The text.
    """

    text: str


Block = str | Table | Figure | Code


@dataclass
class Section:
    """A titled part of the document.

    Args:
        title: Heading.
        blocks: Paragraphs (plain text), tables, figures, code.
    """

    title: str
    blocks: list[Block] = field(default_factory=list)


_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 Georgia, serif; color: #111; background: #fff; max-width: 68rem;
  margin: 2rem auto; padding: 0 1rem; }
h1, h2, nav, table, figcaption, caption { font-family: Helvetica, Arial, sans-serif; }
h2 { border-bottom: 1px solid #999; margin-top: 2.5rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
.stamp { position: sticky; top: 0; z-index: 9; background: #000; color: #fff; padding: .4rem 1rem;
  font: bold 1rem Helvetica, Arial, sans-serif; text-align: center; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; margin: 1rem 0; }
caption { caption-side: top; text-align: left; padding: .3rem 0; color: #333; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: right;
  font-variant-numeric: tabular-nums; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #333; }
figure { margin: 1.5rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption { font-size: .85rem; color: #333; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; font-size: .8rem; }
@media print { body { max-width: none; font-size: 11pt; } nav { display: none; }
  .stamp { position: fixed; width: 100%; left: 0; } figure, table { break-inside: avoid; } }
</style>
</head>
<body>
{% if stamp %}<div class="stamp">{{ stamp }}</div>{% endif %}
<h1>{{ title }}</h1>
<nav>{% for s in sections %}<a href="#s{{ loop.index }}">{{ s.title }}</a> {% endfor %}</nav>
{% for s in sections %}
<section>
<h2 id="s{{ loop.index }}">{{ s.title }}</h2>
{% for b in s.blocks %}
{% if b is string %}<p>{{ b }}</p>
{% elif b.svg is defined %}<figure>{{ b.svg | safe }}
<figcaption>{{ b.caption }}</figcaption></figure>
{% elif b.rows is defined %}<div class="wide"><table>
{% if b.caption %}<caption>{{ b.caption }}</caption>{% endif %}
<thead><tr>{% for h in b.header %}<th>{{ h }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in b.rows %}
<tr>{% for c in row %}<td>{{ c }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% else %}<pre>{{ b.text }}</pre>
{% endif %}
{% endfor %}
</section>
{% endfor %}
</body>
</html>
"""


def to_html(title: str, sections: Sequence[Section], stamp: str = "") -> str:
    """Render as one HTML file that needs nothing else.

    Args:
        title: Title.
        sections: The document.
        stamp: Text shown on every page, for synthetic data.

    Returns:
        HTML.

    Example:
        >>> "<h1>A &lt; B</h1>" in to_html("A < B", [])
        True
    """
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(_HTML)
        .render(title=title, sections=sections, stamp=stamp)
    )


def to_markdown(title: str, sections: Sequence[Section], stamp: str = "") -> str:
    """Render as Markdown; figures are referred to as figures/NAME.svg.

    Args:
        title: Title.
        sections: The document.
        stamp: Text shown above every section, for synthetic data.

    Returns:
        Markdown.

    Example:
        >>> to_markdown("Title", [Section("One", ["Text."])])
        '# Title\\n\\n## One\\n\\nText.\\n'
    """
    parts = [f"# {title}"]
    for section in sections:
        if stamp:
            parts.append(f"**{stamp}**")
        parts.append(f"## {section.title}")
        for block in section.blocks:
            if isinstance(block, str):
                parts.append(block)
            elif isinstance(block, Table):
                parts.append(_markdown_table(block))
            elif isinstance(block, Figure):
                parts.append(f"![{block.caption}](figures/{block.name}.svg)")
            else:
                parts.append(f"```\n{block.text}\n```")
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rows = [line(table.header), line(["---"] * len(table.header)), *map(line, table.rows)]
    return (f"{table.caption}\n\n" if table.caption else "") + "\n".join(rows)
