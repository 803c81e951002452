"""Which store an address means, and what people get to open a result."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import ValidationError

from faceflow.errors import JobError, StoreSetupError, TrustError
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.addresses import find_place
from faceflow.infrastructure.stores.resolve import check_output, store_for
from faceflow.infrastructure.stores.store_settings import StoreConnection, StoreSettings
from faceflow.job import Sensitivity, SwapJob
from faceflow.store import FolderStore
from faceflow.zones import Zone
from tests.stores import services
from tests.stores.conftest import settings_of
from tests.stores.test_every_store import SMALL, put, write

NAMED = {
    "films": StoreConnection(address="s3://studio/films", zone=Zone.ISOLATED),
    "clips": StoreConnection(address="s3://studio", zone=Zone.PRIVATE),
    "azure": StoreConnection(address="az://results/2027", account="studio"),
}


@pytest.mark.parametrize(
    ("address", "name", "key", "zone"),
    [
        ("s3://studio/films/a/b.mp4", "films", "a/b.mp4", Zone.ISOLATED),
        ("S3://studio/films/b.mp4", "films", "b.mp4", Zone.ISOLATED),
        ("s3://studio/filmset/b.mp4", "clips", "filmset/b.mp4", Zone.PRIVATE),
        ("s3://studio/b 100%.mp4", "clips", "b 100%.mp4", Zone.PRIVATE),
        ("az://results/2027/b.mp4", "azure", "b.mp4", Zone.PUBLIC),
        ("az://results/2026/b.mp4", "", "2026/b.mp4", Zone.PUBLIC),
        ("gs://elsewhere/b.mp4", "", "b.mp4", Zone.PUBLIC),
    ],
)
def test_place_of_an_address(address, name, key, zone):
    place, found = find_place(address, StoreSettings(named=NAMED))
    assert (place.name, found, place.connection.zone) == (name, key, zone)


@pytest.mark.parametrize("address", ["https://example.org/x.mp4", "ftp://host/x.mp4", "s3:///x.mp4"])
def test_other_addresses_are_refused(address, tmp_path):
    with pytest.raises(JobError) as caught:
        store_for(address, settings_of(tmp_path))
    assert caught.value.code == "job.location_unsupported"


def test_names_and_fields(tmp_path, s3_fields):
    settings = settings_of(tmp_path, named={"films": StoreConnection(address="s3://studio/films", **s3_fields)})
    store, key = store_for("store://films/{project}/{job_id}/a.mp4", settings, project="tv", job_id="123")
    assert (store.name, key) == ("store 'films'", "tv/123/a.mp4")
    for address, code in (
        ("store://films", "job.location_unsupported"),
        ("store://film/a.mp4", "job.store_unknown"),
        ("s3://bucket/a.mp4", "job.store_unknown"),
    ):
        with pytest.raises(JobError) as caught:
            store_for(address, settings_of(tmp_path, named=settings.stores.named, allow_unnamed=False))
        assert caught.value.code == code


def test_paths_are_taken_literally(tmp_path):
    store, key = store_for(str(tmp_path / "{job_id}.mp4"), settings_of(tmp_path), project="tv", job_id="1")
    assert isinstance(store, FolderStore)
    assert key == "{job_id}.mp4"


def test_two_stores_at_one_place_must_be_named(tmp_path):
    named = {name: StoreConnection(address="s3://studio/films") for name in ("a", "b")}
    with pytest.raises(JobError) as caught:
        store_for("s3://studio/films/x.mp4", settings_of(tmp_path, named=named))
    assert caught.value.code == "job.store_ambiguous"


@pytest.mark.parametrize(
    "fields",
    [
        {"address": "http://studio/films"},
        {"address": "s3://studio", "access_key_id": "x"},
        {"address": "s3://studio", "links": "cdn"},
        {"address": "gs://studio", "encryption": "kms"},
        {"address": "az://studio", "encryption": "kms"},
        {"address": "s3://studio", "encryption_key": "x"},
        {"address": "s3://studio", "link_s": 8 * 86_400},
        {"address": "s3://studio", "zone": "mine"},
    ],
)
def test_contradictions_are_refused(fields):
    with pytest.raises(ValidationError):
        StoreConnection(**fields)


def test_stores_come_from_the_environment_and_secrets_are_not_shown(monkeypatch):
    monkeypatch.setenv("FACEFLOW_STORES__NAMED__RESULTS__ADDRESS", "s3://studio/films")
    monkeypatch.setenv("FACEFLOW_STORES__NAMED__RESULTS__ACCESS_KEY_ID", "THEKEY")
    monkeypatch.setenv("FACEFLOW_STORES__NAMED__RESULTS__SECRET_ACCESS_KEY", "THESECRET")
    monkeypatch.setenv("FACEFLOW_STORES__NAMED__RESULTS__TAGS", '{"team": "trailers"}')
    settings = Settings()
    assert settings.stores.named["results"].tags == {"team": "trailers"}
    assert "THE" not in repr(settings) + settings.model_dump_json()


def test_signed_links_open_the_object_until_they_end(seaweed_bucket, tmp_path):
    store = seaweed_bucket.store(link_s=120)
    stored = put(store, write(tmp_path, SMALL), "a b/ü.mp4", SMALL)
    assert httpx.get(stored.link).content == SMALL
    assert parse_qs(urlsplit(stored.link).query)["X-Amz-Expires"] == ["120"]
    assert timedelta(seconds=60) < stored.link_expires_at - datetime.now(UTC) <= timedelta(seconds=120)
    assert services.SECRET not in stored.link
    assert httpx.get(stored.link.partition("?")[0]).status_code == 403
    other = stored.link.replace("%C3%BC", "x")
    assert httpx.get(other).status_code in (403, 404)


@pytest.mark.full
def test_signed_links_of_azure(azure_bucket, azurite_url, tmp_path):
    azure_bucket.fields["endpoint"] = azurite_url  # the signature covers the address
    stored = put(azure_bucket.store(), write(tmp_path, SMALL), "a b/ü.mp4", SMALL)
    assert httpx.get(stored.link).content == SMALL
    assert httpx.get(stored.link.partition("?")[0]).status_code >= 400
    assert services.AZURE_KEY not in stored.link


def test_links_of_a_cdn_and_none(moto_bucket, tmp_path):
    local = write(tmp_path, SMALL)
    stored = put(moto_bucket.store(links="cdn", link_base="https://cdn.example.org/f/"), local, "a b/ü.mp4", SMALL)
    assert (stored.link, stored.link_expires_at) == ("https://cdn.example.org/f/a%20b/%C3%BC.mp4", None)
    stored = put(moto_bucket.store(links="none"), local, "a b/ü.mp4", SMALL)
    assert (stored.link, stored.link_expires_at) == (f"s3://{moto_bucket.name}/faces/of/a b/ü.mp4", None)


def test_encryption_tags_type_and_checksum_reach_the_service(moto_bucket, tmp_path):
    store = moto_bucket.store(encryption="kms", encryption_key="alias/faces", tags={"team": "trailers + co"})
    large = bytes(6 * 2**20)
    client = services.s3_client(moto_bucket.proxy.upstream)
    for key, content in (("small.mp4", SMALL), ("large.mp4", large)):
        put(store, write(tmp_path, content), key, content)
        where = {"Bucket": moto_bucket.name, "Key": f"faces/of/{key}"}
        head = client.head_object(**where)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/faces")
        assert head["ContentType"] == "video/mp4"
        assert len(head["Metadata"]["faceflowsha256"]) == 64
        assert client.get_object_tagging(**where)["TagSet"] == [{"Key": "team", "Value": "trailers + co"}]
    sent = [headers for headers in moto_bucket.proxy.headers if int(headers.get("Content-Length", 0)) > 1000]
    assert len(sent) == 3
    assert all("x-amz-checksum-sha256" in {name.lower() for name in headers} for headers in sent)


def test_a_service_that_knows_md5_only(moto_bucket, tmp_path):
    store = moto_bucket.store(checksums="md5")
    large = bytes(6 * 2**20)
    put(store, write(tmp_path, large), "large.mp4", large)
    sent = [headers for headers in moto_bucket.proxy.headers if int(headers.get("Content-Length", 0)) > 1000]
    assert len(sent) == 2
    for headers in sent:
        names = {name.lower() for name in headers}
        assert "content-md5" in names
        assert not any("checksum" in name or "trailer" in name for name in names)


def test_the_output_is_looked_at_before_any_work(moto_bucket, tmp_path):
    named = {"results": StoreConnection(address=f"s3://{moto_bucket.name}", zone="public", **moto_bucket.fields)}
    job = SwapJob(sources=({"portraits": ("a.png",)},), target="b.mp4", output="store://results/{job_id}/x.mp4")
    settings = settings_of(tmp_path, named=named, attempts=1)
    check_output(job, settings)
    with pytest.raises(TrustError) as caught:
        check_output(job.model_copy(update={"sensitivity": Sensitivity.PRIVATE}), settings)
    assert caught.value.code == "trust.zone"
    from tests.stores.proxy import Fault

    moto_bucket.proxy.faults = [Fault("HEAD", "status", status=403, body=b"")]
    with pytest.raises(StoreSetupError) as denied:
        check_output(job, settings)
    assert denied.value.code == "store.access_denied"
