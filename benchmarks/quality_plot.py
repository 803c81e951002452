"""Draws what `benchmarks.quality` measured as SVG: each pair by its two distances, each clip beside its original."""

from __future__ import annotations

from typing import Any

_WIDTH, _HEIGHT = 900, 380
_INK, _GRID, _RESULT, _ORIGINAL = "#333333", "#dddddd", "#1f6fb4", "#b0b0b0"
_LOW, _HIGH = 0.2, 1.0
"""Range of distances that the plot shows."""
_SIDE = 300
_LEFT, _TOP = 60, 40


def quality_plot(figures: dict[str, Any]) -> str:
    """SVG of the figures that `benchmarks.quality.main` returns."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_pairs(figures["pairs"]),
        *_clips(figures["clips"]),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _pairs(pairs: dict[str, Any]) -> list[str]:
    def x(value: float) -> float:
        return round(_LEFT + (value - _LOW) / (_HIGH - _LOW) * _SIDE, 1)

    def y(value: float) -> float:
        return round(_TOP + _SIDE - (value - _LOW) / (_HIGH - _LOW) * _SIDE, 1)

    parts = [_text(_LEFT, _TOP - 16, f"{pairs['swaps']} swaps of seven faces: embedding distances", bold=True)]
    for tick in range(5):
        value = _LOW + tick * 0.2
        parts.append(_line(x(value), y(_LOW), x(value), y(_HIGH), _GRID))
        parts.append(_line(x(_LOW), y(value), x(_HIGH), y(value), _GRID))
        parts.append(_text(x(value), y(_LOW) + 16, f"{value:.1f}", anchor="middle"))
        parts.append(_text(x(_LOW) - 6, y(value) + 4, f"{value:.1f}", anchor="end"))
    parts.append(_line(x(_LOW), y(_LOW), x(_HIGH), y(_HIGH), _INK))
    parts += [
        f'<circle cx="{x(source)}" cy="{y(target)}" r="4" fill="{_RESULT}" fill-opacity="0.65"/>'
        for source, target in pairs["pairs"]
    ]
    parts.append(_text(_LEFT + _SIDE / 2, _TOP + _SIDE + 34, "to the source", anchor="middle"))
    middle = _TOP + _SIDE / 2
    parts.append(
        f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">to the target</text>'
    )
    parts.append(_text(x(_LOW) + 8, y(_HIGH) + 16, "above the line: closer to the source"))
    return parts


def _clips(clips: list[dict[str, Any]]) -> list[str]:
    left, width = 470, 250
    most = max(max(*clip["flicker"], *clip["flicker_original"]) for clip in clips)
    parts = [_text(left, _TOP - 16, "Change in the unwrapped face, 8-bit codes (grey: the original)", bold=True)]
    y = _TOP + 6
    for clip in clips:
        parts.append(
            _text(
                left,
                y + 8,
                f"{clip['name'].split('.')[0]}: expression {clip['expression_mean']:.1%}, gaze {clip['gaze']:.1%}, "
                f"to the source {clip['to_source']:.2f}",
            )
        )
        y += 18
        for order, label in enumerate(("first difference", "second difference")):
            parts.append(_text(left + 110, y + 14, label, anchor="end"))
            for figure, colour in (("flicker", _RESULT), ("flicker_original", _ORIGINAL)):
                value = clip[figure][order]
                length = round(value / most * width, 1)
                parts.append(f'<rect x="{left + 118}" y="{y}" width="{length}" height="9" fill="{colour}"/>')
                parts.append(_text(left + 124 + length, y + 9, f"{value:.2f}"))
                y += 11
            y += 8
        y += 14
    return parts


def _text(x: float, y: float, words: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{weight}>{words}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{colour}"/>'
