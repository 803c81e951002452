"""Where shots are cut, seen in tiny gray thumbnails of all frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_CHANGE = 14.0
"""Mean absolute difference of thumbnails, in 8-bit codes, below which two frames are never a cut."""
_CLEAR_CHANGE = 40.0
"""Above which they always are, whatever moves around them."""
_OUTSTANDING = 3.0
"""In between, a cut changes this many times as much as the frames before it (so a pan is none)."""
_HISTOGRAM_CHANGE = 0.25
"""Share of pixels whose brightness class changes at a cut (so a moving object is none)."""
_STILL_TIMES = 8.0
"""A change this many times that of the frames before is a cut whatever the histogram says: between two shots in the
same light it hardly changes."""
_STILL_CHANGE = 20.0
"""The least that this takes."""
_BINS = 16


class CutDetector:
    """Finds hard cuts in thumbnails: a large change of picture and of histogram that stands out from the motion."""

    def __init__(self) -> None:
        self._last: NDArray[np.int16] | None = None
        self._histogram: NDArray[np.float64] | None = None
        self._motion = 0.0

    def is_cut(self, luma: NDArray[np.uint8]) -> bool:
        """Whether the next frame's thumbnail (uint8, always the same size) begins a shot; False for the first."""
        here = luma.astype(np.int16)
        histogram = np.bincount((luma >> 4).reshape(-1), minlength=_BINS) / luma.size
        last, last_histogram = self._last, self._histogram
        self._last, self._histogram = here, histogram
        if last is None or last_histogram is None:
            return False
        change = float(np.abs(here - last).mean())
        classes = float(np.abs(histogram - last_histogram).sum() / 2)
        outstanding = change > max(_LEAST_CHANGE, _OUTSTANDING * self._motion) and classes > _HISTOGRAM_CHANGE
        sudden = change > max(_STILL_CHANGE, _STILL_TIMES * self._motion)
        cut = change > _CLEAR_CHANGE or outstanding or sudden
        # Motion goes on from its old value after a cut: the new shot's own motion is not known yet.
        self._motion = self._motion if cut else 0.7 * self._motion + 0.3 * change
        return cut
