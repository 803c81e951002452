"""The engines by name: one table a family. A new engine is one class and one line here.

Engines are made once per process, behind a lock (several segments start at once, and a large model must not be
loaded once a thread), and are shared by all threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from faceflow.errors import JobError
from faceflow.vision.detail_restorer import DetailRestorer
from faceflow.vision.embedded_analyser import EmbeddedAnalyser
from faceflow.vision.mesh_swapper import MeshSwapper
from faceflow.vision.model import Analyser, Recogniser, Restorer, SwappedCrop, Swapper
from faceflow.vision.recogniser import DlibRecogniser, recogniser_installed


class NoRestorer:
    """Leaves the crops as they are."""

    name = "none"
    version = "1"

    def restore(self, crops: Sequence[SwappedCrop], blend: float) -> list[SwappedCrop]:
        """The same crops, whatever the blend."""
        del blend
        return list(crops)


_ANALYSERS: dict[str, Callable[[], Analyser]] = {"embedded": EmbeddedAnalyser}
_SWAPPERS: dict[str, Callable[[], Swapper]] = {"mesh": MeshSwapper}
_RESTORERS: dict[str, Callable[[], Restorer]] = {"detail": DetailRestorer, "none": NoRestorer}
_RECOGNISERS: dict[str, Callable[[], Recogniser]] = {"dlib": DlibRecogniser}

_Engine = TypeVar("_Engine")
_guard = threading.Lock()
_made: dict[tuple[str, str], object] = {}


def make_analyser(name: str) -> Analyser:
    """The analyser `name`. Raises `JobError` `job.engine_unknown`."""
    return _make("analyser", name, _ANALYSERS)


def make_swapper(name: str) -> Swapper:
    """The swapper `name`. Raises `JobError` `job.engine_unknown`."""
    return _make("engine", name, _SWAPPERS)


def make_restorer(name: str) -> Restorer:
    """The restorer `name`. Raises `JobError` `job.engine_unknown`."""
    return _make("restorer", name, _RESTORERS)


def make_recogniser() -> Recogniser | None:
    """What tells people apart, or None where the extra is not installed. Raises `EngineError` for a damaged one."""
    return _make("recogniser", "dlib", _RECOGNISERS) if recogniser_installed() else None


def engine_versions() -> dict[str, str]:
    """Version of every engine, by `family.name`: part of every cache key that depends on what engines make."""
    tables: dict[str, Mapping[str, Callable[[], Analyser | Swapper | Restorer]]] = {
        "analyser": _ANALYSERS,
        "engine": _SWAPPERS,
        "restorer": _RESTORERS,
    }
    return {
        f"{family}.{name}": _make(family, name, table).version for family, table in tables.items() for name in table
    }


def _make(family: str, name: str, table: Mapping[str, Callable[[], _Engine]]) -> _Engine:
    if name not in table:
        raise JobError(
            "job.engine_unknown",
            f"There is no {family} {name!r}.",
            f"Choose one of: {', '.join(sorted(table))}.",
            family=family,
            name=name,
            known=sorted(table),
        )
    with _guard:
        made = _made.get((family, name))
        if made is None:
            made = _made[family, name] = table[name]()
    return made  # type: ignore[return-value]  # what this table's factory made
