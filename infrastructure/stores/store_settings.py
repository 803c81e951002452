"""Settings of stores: which there are, under which names, in which zones, and how patient we are with them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from faceflow.setting_group import Group, Place
from faceflow.settings import SwapSettings
from faceflow.zones import Zone

StoreName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class StoreConnection(Group):
    """One store by name: where it is, who may enter, how things are kept there."""

    address: str = Field(pattern=r"^(s3|az|gs|file)://[^?#]+$")
    """`s3://BUCKET[/PREFIX]`, `az://CONTAINER[/PREFIX]`, `gs://BUCKET[/PREFIX]` or `file:///FOLDER`. Keys of this store
    lie below the prefix and cannot leave it."""
    zone: Zone = Zone.PUBLIC
    """Trust zone of this store. Private and restricted media is refused where the zone does not allow it."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """Base address of the service where it is not the cloud's own: MinIO, SeaweedFS, Alibaba OSS, a test server."""
    region: str | None = None
    """Region (S3). Default: that of the AWS variables, else `us-east-1`."""
    profile: str | None = None
    """Profile of the shared AWS files whose credentials are used."""
    access_key_id: SecretStr | None = None
    """S3 key. Without it the cloud's own chain is asked: variables, shared files, the machine's or pod's role."""
    secret_access_key: SecretStr | None = None
    """The key's secret."""
    session_token: SecretStr | None = None
    """Token that goes with temporary keys."""
    virtual_hosted: bool = False
    """Whether the bucket's name is part of the host. Alibaba OSS wants it."""
    account: str | None = None
    """Azure storage account. Default: `AZURE_STORAGE_ACCOUNT_NAME`."""
    account_key: SecretStr | None = None
    """Key of the account. Without it Azure's own chain is asked: variables, workload or managed identity, the CLI."""
    service_account: Place | None = None
    """Google service account file. Default: the machine's application credentials."""
    encryption: Literal["default", "aes256", "kms"] = "default"
    """Encryption at rest. `default` leaves it to the bucket; `aes256` and `kms` ask S3 for SSE-S3 or SSE-KMS; on Azure
    `kms` uses the encryption scope `encryption_key`. GCS knows only the bucket's own."""
    encryption_key: str | None = None
    """Name of the KMS key (S3; none: the account's own) or of the encryption scope (Azure). A name, not a secret."""
    checksums: Literal["sha256", "md5"] = "sha256"
    """How an S3 service verifies each piece on arrival. `md5` for services that do not know SHA-256."""
    links: Literal["signed", "cdn", "none"] = "signed"
    """What people get to open a result: an address signed for a while, one below `link_base`, or the plain address."""
    link_base: str | None = Field(default=None, pattern=r"^https?://")
    """Base address of the CDN in front of the bucket, prefix included."""
    link_s: float = Field(default=86_400.0, ge=60, le=7 * 86_400)
    """How long a signed link opens the object, seconds. No service signs for more than a week."""
    tags: dict[str, str] = Field(default_factory=dict, max_length=8)
    """Tags of every object (S3, Azure), for rules of expiry and for the bill."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key must be set together")
        if (self.links == "cdn") != (self.link_base is not None):
            raise ValueError("links=cdn and link_base must be set together")
        kind = self.address.partition(":")[0]
        asked = self.encryption != "default"
        if asked and (kind not in ("s3", "az") or (kind == "az" and self.encryption != "kms")):
            raise ValueError(f"a {kind}:// store does not support encryption={self.encryption}: set it on the bucket")
        if (kind == "az" and self.encryption == "kms") and self.encryption_key is None:
            raise ValueError("on Azure encryption=kms needs the name of an encryption scope in encryption_key")
        if self.encryption_key is not None and self.encryption != "kms":
            raise ValueError("encryption_key needs encryption=kms")
        return self


class StoreSettings(Group):
    """Stores for inputs and results ([stores.md](stores.md))."""

    named: dict[StoreName, StoreConnection] = Field(default_factory=dict)
    """Stores by name, for addresses `store://NAME/KEY`. One variable per field,
    `FACEFLOW_STORES__NAMED__<NAME>__<FIELD>`; [stores.md](stores.md) lists the fields."""
    allow_unnamed: bool = True
    """Whether addresses outside the named stores (`s3://BUCKET/KEY`) are allowed, with the machine's own credentials
    and in the zone `public`. Set it to false if other people submit the jobs."""
    part_bytes: int = Field(default=16 * 2**20, ge=5 * 2**20, le=2**30)
    """Size of the pieces in which files are sent and downloaded, bytes. A broken connection loses at most one piece."""
    parallel_parts: int = Field(default=4, ge=1, le=32)
    """Pieces transferred at once. Limits memory to this many pieces."""
    attempts: int = Field(default=6, ge=1, le=20)
    """Attempts for one request, with growing pauses."""
    timeout_s: float = Field(default=60.0, gt=0, le=600)
    """Longest wait for an answer, seconds. A piece must get through in this time."""
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Longest wait for a connection, seconds."""
    keep_uploads_s: float = Field(default=6 * 86_400.0, ge=0)
    """How long an interrupted upload can be continued, seconds. Make the bucket's rule for incomplete uploads longer
    than this."""


class ExchangeSettings(Group):
    """Where workers of the same job, at once or one after another, find each other's finished parts."""

    folder: Place | None = None
    """A folder that all workers of the zone share, so that any of them can continue a job. Without it, shards use
    `exchange` in the state folder, so they have to run on machines that share that folder."""
    zone: Zone | None = None
    """Trust zone of that folder. Default: this machine's zone."""


class SettingsWithStores(SwapSettings):
    """Settings for opening stores and the exchange."""

    exchange: ExchangeSettings = Field(default_factory=ExchangeSettings)
    stores: StoreSettings = Field(default_factory=StoreSettings)
