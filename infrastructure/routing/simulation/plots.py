"""Plots of simulated days as SVG text, drawn by hand: two kinds of chart need no plotting library.

Colours are the Okabe-Ito palette, which colour-blind readers can tell apart; every mark is also labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from faceflow.infrastructure.routing.pools import Capacity
from faceflow.infrastructure.routing.simulation.day import Day
from faceflow.infrastructure.routing.simulation.report import Report

_COLOURS = {
    "owned machines": "#009E73",
    "rented machines": "#0072B2",
    "egress": "#E69F00",
    "in time": "#009E73",
    "late": "#E69F00",
    "not done": "#D55E00",
}
_BIN_S = 600.0
_FONT = "font-family='sans-serif' font-size='13' fill='#222'"


def cost_chart(reports: Sequence[Report], bound_usd: float | None, owned: frozenset[str]) -> str:
    """Bars for each policy: what was paid, and how many jobs were in time.

    Args:
        reports: one a policy.
        bound_usd: the lower bound, drawn as a line; None: none.
        owned: names of owned pools.
    """
    paid = [_paid(report, owned) for report in reports]
    most = max([sum(parts.values()) for parts in paid] + [bound_usd or 0.0]) or 1.0
    height = 60 + 46 * len(reports)
    lines = [_head(920, height, "Cost and punctuality by policy"), _legend(_COLOURS, 20)]
    for number, (report, parts) in enumerate(zip(reports, paid, strict=True)):
        y = 44 + 46 * number
        lines.append(_text(10, y + 20, report.policy))
        left = 150.0
        for label, value in parts.items():
            left = _bar(lines, left, y, value / most * 250, f"{report.policy}: {label} {value:.2f} USD", label)
        missed = f" + {report.missed_usd:.0f} missed" if report.missed_usd else ""
        lines.append(_text(left + 6, y + 20, f"{report.paid_usd:.0f}{missed} USD"))
        left = 560.0
        for label, count in {"in time": report.in_time, "late": report.late, "not done": report.undone}.items():
            left = _bar(lines, left, y, count / max(1, report.jobs) * 270, f"{report.policy}: {count} {label}", label)
        lines.append(_text(840, y + 20, f"{report.in_time_share:.1%}"))
    if bound_usd is not None:
        x = 150 + bound_usd / most * 250
        lines.append(f"<path d='M{x:.1f} 38V{height - 14}' stroke='#222' stroke-dasharray='4 3'/>")
        lines.append(_text(x + 4, height - 4, f"paid + missed cannot be less than {bound_usd:.0f} USD"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def day_chart(days: Sequence[tuple[str, Day]]) -> str:
    """For each policy a panel with GPUs in use over the day, owned below rented."""
    hours = max(day.ended for _, day in days) / 3600
    busy = [(name, _busy(day, owned=True), _busy(day, owned=False)) for name, day in days]
    most = max(float((owned + rented).max(initial=1.0)) for _, owned, rented in busy)
    height = 40 + 150 * len(days)
    colours = {label: _COLOURS[label] for label in ("owned machines", "rented machines")}
    lines = [_head(920, height, "GPUs in use over the day"), _legend(colours, 20)]
    for number, (name, owned, rented) in enumerate(busy):
        base = 40 + 150 * number + 125
        lines.append(_text(10, base - 55, name))
        lines.append(_text(118, base - 95, f"{most:.0f}", "end"))
        lines.append(_text(118, base, "0", "end"))
        scale = 100 / most
        lines.append(_area(np.zeros_like(owned), owned, base, scale, hours, _COLOURS["owned machines"]))
        lines.append(_area(owned, owned + rented, base, scale, hours, _COLOURS["rented machines"]))
        lines.append(f"<path d='M124 {base}H900' stroke='#222'/>")
        for hour in range(0, int(hours) + 1, 3):
            lines.append(_text(124 + hour / hours * 776, base + 15, f"{hour}:00", "middle"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _paid(report: Report, owned: frozenset[str]) -> dict[str, float]:
    return {
        "owned machines": sum(pool.machines_usd for pool in report.pools if pool.name in owned),
        "rented machines": sum(pool.machines_usd for pool in report.pools if pool.name not in owned),
        "egress": sum(pool.egress_usd for pool in report.pools),
    }


def _busy(day: Day, *, owned: bool) -> NDArray[np.float64]:
    """Mean GPUs at work in every ten minutes."""
    bins = np.zeros(int(day.ended / _BIN_S) + 1)
    for machines in day.machines.values():
        if (machines.pool.capacity is Capacity.OWNED) is not owned:
            continue
        for begun, ended in machines.ledger.busy:
            first, last = int(begun / _BIN_S), min(int(ended / _BIN_S), len(bins) - 1)
            for place in range(first, last + 1):
                bins[place] += max(0.0, min(ended, (place + 1) * _BIN_S) - max(begun, place * _BIN_S)) / _BIN_S
    return bins


def _area(
    low: NDArray[np.float64], high: NDArray[np.float64], base: float, scale: float, hours: float, colour: str
) -> str:
    x = 124 + np.arange(len(high)) * _BIN_S / 3600 / hours * 776
    top = " ".join(f"{at:.1f},{base - value * scale:.1f}" for at, value in zip(x, high, strict=True))
    bottom = " ".join(f"{at:.1f},{base - value * scale:.1f}" for at, value in zip(x[::-1], low[::-1], strict=True))
    return f"<polygon points='{top} {bottom}' fill='{colour}'/>"


def _bar(lines: list[str], left: float, y: float, width: float, title: str, label: str) -> float:
    lines.append(
        f"<rect x='{left:.1f}' y='{y}' width='{width:.1f}' height='30' fill='{_COLOURS[label]}'>"
        f"<title>{escape(title)}</title></rect>"
    )
    return left + width


def _legend(colours: dict[str, str], y: float) -> str:
    parts = []
    for number, (label, colour) in enumerate(colours.items()):
        x = 150 + 126 * number
        parts.append(f"<rect x='{x}' y='{y - 11}' width='12' height='12' fill='{colour}'/>")
        parts.append(_text(x + 17, y, label))
    return "\n".join(parts)


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {_FONT}>{escape(words)}</text>"


def _head(width: int, height: int, title: str) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
        f"role='img'><title>{escape(title)}</title><rect width='100%' height='100%' fill='#fff'/>"
    )
