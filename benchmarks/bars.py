"""Stacked horizontal bars as an SVG file: small, sharp at any size, and readable as text in a diff."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_COLOURS = ("#4e79a7", "#a0cbe8", "#f28e2b", "#59a14f", "#b07aa1", "#9c755f", "#76b7b2", "#e15759")
_ROW, _BAR, _LEFT, _RIGHT, _WIDTH, _TOP = 34, 22, 190, 70, 860, 74
_FONT = "font-family='Helvetica, Arial, sans-serif'"

Bar = tuple[str, dict[str, float], str]
"""A name, the lengths of its parts by name, and what is written behind it."""


def draw_bars(path: Path, title: str, unit: str, bars: Sequence[Bar]) -> None:
    """Writes the bars with a legend, an axis in `unit` and a title to `path`."""
    names = list(dict.fromkeys(name for _, parts, _ in bars for name in parts))
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    longest = max(sum(parts.values()) for _, parts, _ in bars)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if longest / step <= 8)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    height = _TOP + len(bars) * _ROW + 34
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' viewBox='0 0 {_WIDTH} {height}'>",
        f"<rect width='{_WIDTH}' height='{height}' fill='white'/>",
        f"<text x='12' y='22' font-size='15' font-weight='bold' {_FONT}>{escape(title)}</text>",
    ]
    x = _LEFT
    for name in names:
        lines.append(f"<rect x='{x}' y='38' width='12' height='12' fill='{colours[name]}'/>")
        lines.append(f"<text x='{x + 17}' y='49' font-size='12' {_FONT}>{escape(name)}</text>")
        x += 34 + 7 * len(name)
    for value in range(0, int(longest) + 1, step):
        x = round(_LEFT + value * scale)
        bottom = height - 26
        lines.append(f"<line x1='{x}' y1='{_TOP - 8}' x2='{x}' y2='{bottom}' stroke='#ddd'/>")
        lines.append(f"<text x='{x}' y='{height - 10}' font-size='11' text-anchor='middle' {_FONT}>{value}</text>")
    lines.append(f"<text x='{_WIDTH - 12}' y='{height - 10}' font-size='11' text-anchor='end' {_FONT}>{unit}</text>")
    for number, (name, parts, behind) in enumerate(bars):
        y = _TOP + number * _ROW
        begun = float(_LEFT)
        lines.append(
            f"<text x='{_LEFT - 8}' y='{y + 15}' font-size='12' text-anchor='end' {_FONT}>{escape(name)}</text>"
        )
        for part, length in parts.items():
            wide = length * scale
            shown = f"<title>{escape(part)}: {length:.1f} {unit}</title>"
            lines.append(
                f"<rect x='{begun:.1f}' y='{y}' width='{wide:.1f}' height='{_BAR}' fill='{colours[part]}'>"
                f"{shown}</rect>"
            )
            begun += wide
        lines.append(f"<text x='{begun + 6:.1f}' y='{y + 15}' font-size='12' {_FONT}>{escape(behind)}</text>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, "</svg>"]) + "\n")
