"""Brings decoded sound that changes its sample rate or channels on the way into one form, with the times kept.

FFmpeg's resampler is set up by its first frame and refuses any other kind. So there is one for each stretch of sound
that is alike; at a change the old one is emptied and a new one begins at the time of the first new frame. Where a
stretch begins before the one before has ended (files put one after the other overlap by what their encoders padded),
what was heard already is not said again. Sound that never changes passes as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

_Form = tuple[str, str, int]


class OneForm:
    """Takes frames of any form and gives frames of one.

    Args:
        target: sample format, layout and rate, Hz; None: those of the first frame.
    """

    def __init__(self, target: _Form | None) -> None:
        self._target = target
        self._clock: Fraction | None = None
        self._current: _Form | None = None
        self._resampler: AudioResampler | None = None
        self._changed = False
        self._heard_until_s: Fraction | None = None

    def convert(self, frame: AudioFrame | None) -> Iterator[AudioFrame]:
        """Yields what is ready; None at the end flushes. Times of the frames are in their own `time_base`."""
        if frame is None:
            yield from self._flushed()
            return
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._target is None:
            self._target = form
        if self._clock is None:
            self._clock = frame.time_base if form == self._target else Fraction(1, self._target[2])
        if form != self._current:
            yield from self._flushed()
            self._changed = self._current is not None
            self._current = form
            if form != self._target:
                name, layout, rate = self._target
                self._resampler = AudioResampler(format=name, layout=layout, rate=rate)
        if self._is_heard_again(frame):
            return
        yield from self._timed(self._resampler.resample(frame) if self._resampler is not None else [frame])

    def _flushed(self) -> Iterator[AudioFrame]:
        if self._resampler is not None:
            yield from self._timed(self._resampler.resample(None))
            self._resampler = None

    def _is_heard_again(self, frame: AudioFrame) -> bool:
        if frame.pts is None or frame.time_base is None:
            return False
        end_s = frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate)
        if self._changed and self._heard_until_s is not None and end_s <= self._heard_until_s:
            return True
        self._heard_until_s = end_s
        return False

    def _timed(self, frames: list[AudioFrame]) -> Iterator[AudioFrame]:
        """All frames tell their times in one clock, because what follows is set up by the first."""
        for frame in frames:
            if self._clock is not None and frame.pts is not None and frame.time_base is not None:
                frame.pts = round(frame.pts * frame.time_base / self._clock)
                frame.time_base = self._clock
            yield frame
