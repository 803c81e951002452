"""Settings of the copies of the container image that lie near the work pools."""

from __future__ import annotations

from pydantic import Field

from faceflow.infrastructure.routing_settings import SettingsWithRouting
from faceflow.setting_group import Group, Names, Place


class ImageSettings(Group):
    """The container image and its copies near the work pools ([image.md](image.md))."""

    source: str = ""
    """The image that is copied, `HOST/REPOSITORY:TAG`."""
    registries: dict[str, str] = Field(default_factory=dict)
    """The repository near each work pool, as JSON: `{"aws-g4dn-spot": "HOST/REPOSITORY"}`. Pools may share one. It
    takes precedence over `registry` in the list of pools (`FACEFLOW_ROUTING__POOLS`)."""
    credentials: Place | None = None
    """File with the registry logins, as written by `skopeo login --authfile FILE`. Default: skopeo's own file."""
    credentials_block: str = ""
    """Name of a Prefect Secret block with the content of such a file; the flow uses it instead of the file."""
    without_tls: Names = ()
    """Registries (`HOST:PORT`, separated by commas) that faceflow accesses without TLS."""
    every_s: float = Field(default=900.0, ge=60, le=86400)
    """How often the scheduled flow checks whether a registry is behind, seconds."""
    parallel: int = Field(default=2, ge=1, le=16)
    """Registries that are copied to at once."""
    timeout_s: float = Field(default=1800.0, gt=0, le=7 * 86_400)
    """Longest time for the copy to one registry, seconds."""


class SettingsWithImages(SettingsWithRouting):
    """Settings for copying images to the registries of pools."""

    images: ImageSettings = Field(default_factory=ImageSettings)
