"""Matplotlib figures as SVG text, the same for the same data."""

import io
from typing import Any


def svg(figure: Any) -> str:
    """Draw a `matplotlib.figure.Figure` as an ``<svg>`` element whose text stays text."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "mosei_ssl", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
