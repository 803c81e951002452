"""From the location of an output to the store that takes it and the key under which it lies there."""

from __future__ import annotations

from faceflow.locations import local_path
from faceflow.settings import Settings
from faceflow.store import FolderStore, Store


def store_for(location: str, settings: Settings) -> tuple[Store, str]:
    """The store and key that `location` means. A folder lies in the zone of the machine.

    Raises:
        JobError: `job.location_unsupported` for a URI whose store this installation does not have.
        OutputError: `output.folder_missing` where the folder is not there.
    """
    path = local_path(location)
    return FolderStore(path.parent, settings.pool.zone), path.name
