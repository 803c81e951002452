"""The benchmarks say what they measured."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks.bars import draw_bars
from benchmarks.host_path import Case


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1280x720", "1280x720, 1 face of 35%"),
        ("1920x1080:5@0.2", "1920x1080, 5 faces of 20%"),
        ("3840x2160:2", "3840x2160, 2 faces of 35%"),
    ],
)
def test_a_case_says_what_it_is(text, shown):
    assert str(Case.of(text)) == shown


def test_bars_are_as_long_as_their_parts(tmp_path):
    path = tmp_path / "new" / "bars.svg"
    draw_bars(path, "a < b", "ms", [("one", {"x": 10.0, "y": 30.0}, "40"), ("two", {"y": 20.0}, "20")])
    drawn = [one for one in ET.parse(path).iter() if one.tag.endswith("rect") and len(one)]
    widths = {one[0].text: float(one.get("width", 0)) for one in drawn}
    assert widths["x: 10.0 ms"] * 3 == pytest.approx(widths["y: 30.0 ms"], abs=0.5)
    assert widths["x: 10.0 ms"] * 2 == pytest.approx(widths["y: 20.0 ms"], abs=0.5)
