"""Where the rows of a campaign come from: a list, or portraits in a folder or a store that go into one video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from faceflow.errors import JobError
from faceflow.frozen import FrozenModel
from faceflow.infrastructure.books.campaigns.manifest import read_manifest
from faceflow.infrastructure.books.campaigns.portraits import portraits_of
from faceflow.infrastructure.books.campaigns.rows import Rows
from faceflow.infrastructure.stores.store_settings import SettingsWithStores
from faceflow.locations import absolute, carried, in_store, local_path

_Place = Annotated[str, AfterValidator(carried)]


class CampaignSource(FrozenModel):
    """What somebody asked for: a manifest, or portraits with target and output; what is empty was not given."""

    manifest: _Place = ""
    portraits: _Place = ""
    target: _Place = ""
    output: _Place = ""
    defaults: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def given(self) -> bool:
        """Whether anything was asked for."""
        return any((self.manifest, self.portraits, self.target, self.output))

    @property
    def location(self) -> str:
        """The manifest, or where the portraits lie: an absolute path or an address."""
        location = absolute(self.manifest or self.portraits)
        return location.rstrip("/") if in_store(location) else location

    def require_whole(self) -> None:
        """Raises JobError `job.usage` where something is missing, or both ways are mixed."""
        parts = (self.portraits, self.target, self.output)
        if any(parts) if self.manifest else not all(parts):
            raise JobError(
                "job.usage",
                "A campaign needs either a manifest, or portraits together with a target and an output.",
                "Run `faceflow campaign run MANIFEST`, or `faceflow campaign run --portraits FOLDER_OR_PREFIX "
                "--target VIDEO -o FOLDER_OR_PREFIX`.",
            )


def read_source(source: CampaignSource, settings: SettingsWithStores) -> Rows:
    """The rows that were asked for.

    Raises:
        JobError: `job.usage`; as `read_manifest` and `portraits_of`.
        TrustError, StoreError, StoreSetupError: as `portraits_of`.
    """
    source.require_whole()
    if source.manifest:
        return read_manifest(local_path(source.manifest), source.defaults)
    return portraits_of(source.portraits, absolute(source.target), absolute(source.output), source.defaults, settings)
