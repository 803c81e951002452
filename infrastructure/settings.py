"""All settings of a program of ours, put together from the engine's and every room's: read once, then handed down.

Each group stands with its owner: those that a face swap itself needs in `faceflow.settings`, all others in the room of
`infrastructure` that uses them, as a `SettingsWith...` that adds them to the engine's. A room asks for its own, so it
can be used and tested with no more than that; `Settings` is all of them at once, which every room takes. A new group is
a class with its owner and a line there; a new owner is one more base here.
"""

from __future__ import annotations

from functools import lru_cache

from faceflow.infrastructure.books.book_settings import SettingsWithBooks
from faceflow.infrastructure.machine.images.image_settings import SettingsWithImages
from faceflow.infrastructure.machine.server.server_settings import SettingsWithServer
from faceflow.infrastructure.sources.source_settings import SettingsWithSources
from faceflow.infrastructure.stores.store_settings import SettingsWithStores
from faceflow.settings import read_settings


class Settings(SettingsWithImages, SettingsWithServer, SettingsWithBooks, SettingsWithSources, SettingsWithStores):
    """All settings. Read once from the environment; pass `Settings(...)` explicitly in tests."""


@lru_cache(maxsize=1)
def current_settings() -> Settings:
    """The settings of this process, from its environment.

    Raises:
        JobError: `job.settings_invalid`, naming the variable and what is wrong with it.
    """
    return read_settings(Settings)
