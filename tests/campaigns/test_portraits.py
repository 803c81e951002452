"""Portraits below a folder or a prefix in a store, as the rows of a campaign: the same rule in both places."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faceflow.errors import JobError, StoreSetupError, TrustError
from faceflow.infrastructure.books.campaigns.books import remember_campaign
from faceflow.infrastructure.books.campaigns.figures import counts_of
from faceflow.infrastructure.books.campaigns.portraits import portraits_of
from faceflow.infrastructure.books.campaigns.sources import CampaignSource, read_source
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.store_settings import StoreConnection, StoreSettings
from faceflow.settings import PathSettings
from faceflow.zones import Zone
from tests.routing.worlds import NOW
from tests.stores import services

CONSENT = {"consent": {"subject": "the visitor", "scope": "a greeting", "reference": "form 7"}}
NAMES = (
    "IMG_1.HEIC",
    "anna.jpg",
    "anna.PNG",
    "ben.avif",
    "deep/ben.webp",
    "notes.txt",
    "a | b.jpeg",
    "jpg",
    "live.mov",
)
CHOSEN = ["IMG_1.HEIC", "a | b.jpeg", "anna.PNG", "anna.jpg", "ben.avif", "deep/ben.webp"]
OUTPUTS = ["IMG_1-HEIC.mp4", "a | b-jpeg.mp4", "anna-PNG.mp4", "anna-jpg.mp4", "ben-avif.mp4", "deep-ben-webp.mp4"]


def settings_of(folder: Path, **named: StoreConnection) -> Settings:
    return Settings(paths=PathSettings(state=folder, scratch=folder), stores=StoreSettings(named=named))


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with services.moto() as url:
        yield url


@pytest.fixture
def bucket(moto_url: str, tmp_path: Path) -> tuple[str, Any, Settings]:
    """A bucket's name, a client for it, and settings with its part `faces` as the private store `visitors`."""
    name, client = f"bucket-{secrets.token_hex(6)}", services.s3_client(moto_url)
    client.create_bucket(Bucket=name)
    for key in NAMES:
        client.put_object(Bucket=name, Key=f"faces/selfies/{key}", Body=b"x")
    fields = {"endpoint": moto_url, "access_key_id": services.KEY, "secret_access_key": services.SECRET}
    store = StoreConnection(address=f"s3://{name}/faces", zone=Zone.PRIVATE, **fields)
    return name, client, settings_of(tmp_path, visitors=store)


def test_in_a_folder(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    given = {**CONSENT, "frames": 90, "label.kind": "x"}
    folder, out, settings = str(tmp_path / "in"), str(tmp_path / "out"), settings_of(tmp_path)
    rows = list(portraits_of(folder, "/v/hello.mp4", out, given, settings))
    assert [row.job.sources[0].portraits for row in rows] == [(f"{folder}/{name}",) for name in CHOSEN]
    assert [row.job.output for row in rows] == [f"{out}/{name}" for name in OUTPUTS]
    assert {row.job.target for row in rows} == {"/v/hello.mp4"}
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 6]
    assert (rows[0].frames, rows[0].labels) == (90, {"kind": "x"})
    with pytest.raises(JobError) as caught:
        portraits_of(out, "/v/hello.mp4", out, CONSENT, settings)
    assert caught.value.code == "job.manifest_unreadable"


def test_a_phones_picture_as_target_gives_results_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "anna.heic").touch()
    settings = settings_of(tmp_path)
    for target, ending in (
        ("/v/IMG_2.HEIC", ".jpg"),
        ("/v/a.avif", ".avif"),
        ("/v/a.png", ".png"),
        ("/v/a.mov", ".mov"),
    ):
        rows = list(portraits_of(str(tmp_path / "in"), target, "/out", CONSENT, settings))
        assert [row.job.output for row in rows] == [f"/out/anna-heic{ending}"]


@pytest.mark.parametrize("ending", ["", "/"])
@pytest.mark.parametrize("named", [True, False])
def test_in_a_store(bucket: tuple[str, Any, Settings], named: bool, ending: str) -> None:
    name, _, settings = bucket
    location = "store://visitors/selfies" if named else f"s3://{name}/faces/selfies"
    rows = list(portraits_of(location + ending, "s3://v/hello.mp4", "store://results/{project}/", CONSENT, settings))
    assert [row.job.sources[0].portraits for row in rows] == [(f"{location}/{key}",) for key in CHOSEN]
    assert [row.job.output for row in rows] == [f"store://results/{{project}}/{one}" for one in OUTPUTS]


@pytest.mark.parametrize("location", ["store://visitors", "store://visitors/", "s3://BUCKET/faces"])
def test_a_whole_store(bucket: tuple[str, Any, Settings], location: str) -> None:
    name, _, settings = bucket
    base = location.replace("BUCKET", name)
    rows = portraits_of(base, "s3://v/hello.mp4", "/out", CONSENT, settings)
    wanted = [f"{base.rstrip('/')}/selfies/{key}" for key in CHOSEN]
    assert [row.job.sources[0].portraits[0] for row in rows] == wanted


def test_what_may_not_lie_there_is_not_listed(bucket: tuple[str, Any, Settings], moto_url: str) -> None:
    """Restricted portraits are not looked for in a private store, nor private ones in one that nobody configured."""
    name, _, settings = bucket
    for location, sensitivity in ((f"s3://{name}/faces/selfies", "restricted"), ("s3://unnamed/selfies", "private")):
        with pytest.raises(TrustError) as caught:
            portraits_of(location, "t.mp4", "/out", {**CONSENT, "sensitivity": sensitivity}, settings)
        assert caught.value.code == "trust.zone"
    with pytest.raises(JobError) as wrong:
        portraits_of("store://visitors", "t.mp4", "/out", {**CONSENT, "sensitivity": "secret"}, settings)
    assert wrong.value.code == "job.manifest_invalid"


def test_errors_of_the_store_are_those_of_the_store(bucket: tuple[str, Any, Settings]) -> None:
    _, _, settings = bucket
    with pytest.raises(JobError) as unknown:
        portraits_of("store://nobody/x", "t.mp4", "/out", CONSENT, settings)
    assert unknown.value.code == "job.store_unknown"
    with pytest.raises(JobError) as empty:
        portraits_of("store://visitors/nothing", "t.mp4", "/out", CONSENT, settings)
    assert empty.value.code == "job.manifest_unreadable"
    gone = settings.stores.named["visitors"].model_copy(update={"address": "s3://never-made"})
    with pytest.raises(StoreSetupError) as missing:
        portraits_of("store://gone", "t.mp4", "/out", CONSENT, settings_of(settings.paths.state, gone=gone))
    assert missing.value.code == "store.bucket_missing"


def test_listed_again_only_what_came_meanwhile_is_new(bucket: tuple[str, Any, Settings], database: Any) -> None:
    name, client, settings = bucket
    source = CampaignSource(
        portraits="store://visitors/selfies/", target="s3://v/t.mp4", output="s3://r/x", defaults=CONSENT
    )

    def remembered() -> int:
        return remember_campaign(database, "c", source.location, read_source(source, settings), NOW)

    assert remembered() == len(CHOSEN)
    client.put_object(Bucket=name, Key="faces/selfies/Aaron.jpg", Body=b"x")
    assert remembered() == 1
    assert remembered() == 0
    assert counts_of(database, "c").waiting == len(CHOSEN) + 1


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"portraits": "in"},
        {"portraits": "in", "target": "t.mp4"},
        {"manifest": "list.csv", "output": "out"},
        {"manifest": "list.csv", "portraits": "in", "target": "t.mp4", "output": "out"},
    ],
)
def test_half_a_request(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        read_source(CampaignSource(**given), settings_of(tmp_path))
    assert caught.value.code == "job.usage"
