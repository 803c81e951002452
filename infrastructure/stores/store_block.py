"""The Prefect block `FaceflowStore`: a store by name, edited in Prefect's interface, its secrets kept by Prefect.

Jobs name it, `store://NAME/KEY`; a store of the same name in the settings of the machine comes first. The address of
a job never holds a credential.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from pydantic import Field, SecretStr, ValidationError

from faceflow.errors import StoreError, StoreSetupError
from faceflow.infrastructure.stores.store_settings import StoreConnection
from faceflow.zones import Zone

SLUG = "faceflow-store"


class FaceflowStore(Block):
    """Where results and inputs are kept: a bucket or container, its zone, its keys and its links."""

    _block_type_name: ClassVar[str | None] = "Faceflow Store"
    _block_type_slug: ClassVar[str | None] = SLUG
    _description: ClassVar[str | None] = "A bucket, container or folder for faceflow's inputs and results."

    address: str = Field(title="Address", description="s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX.")
    zone: Zone = Field(
        default=Zone.PUBLIC, title="Trust zone", description="Public stores refuse private and restricted media."
    )
    endpoint: str | None = Field(
        default=None, title="Endpoint", description="Needed only for services other than the cloud provider's own."
    )
    region: str | None = Field(default=None, title="Region")
    profile: str | None = Field(default=None, title="AWS profile")
    access_key_id: SecretStr | None = Field(
        default=None, title="Access key", description="Leave empty to use the machine's role."
    )
    secret_access_key: SecretStr | None = Field(default=None, title="Secret key")
    session_token: SecretStr | None = Field(default=None, title="Session token")
    virtual_hosted: bool = Field(default=False, title="Bucket in the host name", description="Needed for Alibaba OSS.")
    account: str | None = Field(default=None, title="Azure account")
    account_key: SecretStr | None = Field(default=None, title="Azure account key")
    encryption: Literal["default", "aes256", "kms"] = Field(default="default", title="Encryption at rest")
    encryption_key: str | None = Field(default=None, title="KMS key or encryption scope")
    checksums: Literal["sha256", "md5"] = Field(default="sha256", title="Checksums on arrival")
    links: Literal["signed", "cdn", "none"] = Field(default="signed", title="Links")
    link_base: str | None = Field(default=None, title="Address of the CDN")
    link_s: float = Field(default=86_400.0, ge=60, le=7 * 86_400, title="Links expire after (seconds)")
    tags: dict[str, str] = Field(default_factory=dict, title="Tags")

    def to_connection(self) -> StoreConnection:
        """The same as settings. Raises ValidationError for fields that contradict each other."""
        return StoreConnection.model_validate(_filled(self))


def connection_of(name: str) -> StoreConnection | None:
    """The store in the block `name`, or None where there is no such block or no server is named.

    Raises:
        StoreError: `store.block_unreadable`: the server does not answer.
        StoreSetupError: `store.block_invalid`.
    """
    if PREFECT_API_URL.value() is None:
        return None
    try:
        with get_client(sync_client=True) as client:
            document = client.read_block_document_by_name(name, SLUG, include_secrets=True)
        return FaceflowStore.model_validate(document.data).to_connection()
    except ObjectNotFound:
        return None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'block'}: {one['msg']}" for one in error.errors()[:3])
        raise StoreSetupError(
            "store.block_invalid",
            f"The Prefect block {SLUG}/{name} cannot be used: {wrong}.",
            "Correct the block in the Prefect UI.",
        ) from None
    except httpx.HTTPError as error:
        raise StoreError(
            "store.block_unreadable",
            f"The Prefect block {SLUG}/{name} cannot be read: {type(error).__name__}.",
            "Check that the Prefect server is running, and run the same command again.",
        ) from None


def _filled(block: FaceflowStore) -> dict[str, Any]:
    return {name: value for name in StoreConnection.model_fields if (value := getattr(block, name, None)) is not None}
