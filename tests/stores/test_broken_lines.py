"""Services that fail, lines that break, processes that are killed: nothing is half there, and little is sent twice."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from faceflow.errors import StoreError, StoreSetupError
from faceflow.job import Sensitivity
from tests.conftest import ROOT
from tests.stores import services
from tests.stores.conftest import Bucket, MiB, settings_of
from tests.stores.proxy import Fault

CONTENT = random.Random(11).randbytes(21 * MiB)  # five pieces
SHA256 = hashlib.sha256(CONTENT).hexdigest()
UPLOADERS = ["moto", pytest.param("azure", marks=pytest.mark.full)]
PIECE = {"moto": r"PUT .*partNumber=", "azure": r"PUT .*comp=block&"}
COMMIT = {"moto": r"POST .*uploadId=", "azure": r"PUT .*comp=blocklist"}


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "local.mp4"
    path.write_bytes(CONTENT)
    return path


def put(bucket: Bucket, local: Path):
    return bucket.store().put(local, "out.mp4", Sensitivity.PRIVATE, sha256=SHA256)


def assert_there(bucket: Bucket, tmp_path: Path):
    bucket.store().get("out.mp4", tmp_path / "back.mp4", sha256=SHA256)
    assert (tmp_path / "back.mp4").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", UPLOADERS)
@pytest.mark.parametrize(
    "fault",
    [
        {"action": "status", "status": 503, "times": 2},
        {"action": "status", "status": 500, "body": b"", "times": 2},
        {"action": "cut_request"},
        {"action": "lose_answer"},
    ],
    ids=lambda fault: f"{fault['action']}-{fault.get('status', '')}",
)
def test_a_piece_that_does_not_get_through_is_sent_again(bucket_of, kind, local, tmp_path, fault):
    bucket = bucket_of(kind)
    bucket.proxy.faults = [Fault(PIECE[kind], after=2, **fault)]
    put(bucket, local)
    assert bucket.proxy.count(PIECE[kind]) == 5 + fault.get("times", 1)
    assert_there(bucket, tmp_path)


@pytest.mark.parametrize("kind", UPLOADERS)
@pytest.mark.parametrize("action", ["lose_answer", "status"])
def test_publishing_is_repeated_and_a_lost_answer_is_no_failure(bucket_of, kind, local, tmp_path, action):
    bucket = bucket_of(kind)
    bucket.proxy.faults = [Fault(COMMIT[kind], action)]
    put(bucket, local)
    assert_there(bucket, tmp_path)


@pytest.mark.parametrize("kind", UPLOADERS)
def test_a_long_failure_is_reported_and_the_next_call_goes_on(bucket_of, kind, local, tmp_path):
    bucket = bucket_of(kind)
    bucket.settings = settings_of(tmp_path, attempts=2, parallel_parts=1)
    bucket.proxy.faults = [Fault(PIECE[kind], "status", times=1000, after=3)]
    with pytest.raises(StoreError) as caught:
        put(bucket, local)
    assert caught.value.code == "store.busy"
    assert caught.value.retryable
    assert bucket.store().head("out.mp4") is None
    bucket.proxy.faults.clear()
    bucket.proxy.requests.clear()
    put(bucket, local)
    assert bucket.proxy.count(PIECE[kind]) == 2
    assert_there(bucket, tmp_path)


_UPLOAD = """
import json, sys
from pathlib import Path
from faceflow.job import Sensitivity
from tests.stores.conftest import Bucket, settings_of
kind, name, fields, folder, local, sha256 = json.loads(sys.argv[1])
bucket = Bucket(kind, name, settings_of(Path(folder), parallel_parts=1), fields)
bucket.store().put(Path(local), "out.mp4", Sensitivity.PRIVATE, sha256=sha256)
"""


@pytest.mark.parametrize("kind", UPLOADERS)
@pytest.mark.parametrize("reached", ["third piece", "commit"])
def test_killed_uploader_leaves_no_object_and_its_pieces_are_used(bucket_of, kind, local, tmp_path, reached):
    bucket = bucket_of(kind)
    pattern, after = (PIECE[kind], 2) if reached == "third piece" else (COMMIT[kind], 0)
    bucket.proxy.faults = [Fault(pattern, "hang", after=after)]
    facts = [bucket.kind, bucket.name, bucket.fields, str(tmp_path), str(local), SHA256]
    process = subprocess.Popen([sys.executable, "-c", _UPLOAD, json.dumps(facts)], cwd=ROOT)
    try:
        assert bucket.proxy.hanging.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    bucket.proxy.faults.clear()
    bucket.proxy.requests.clear()
    bucket.settings = settings_of(tmp_path, parallel_parts=1)
    assert bucket.store().head("out.mp4") is None
    put(bucket, local)
    left = bucket.proxy.count(PIECE[kind])
    assert left <= (3 if reached == "third piece" else 0)
    assert_there(bucket, tmp_path)


def test_an_upload_that_the_service_forgot_is_begun_anew(moto_bucket, local, tmp_path):
    moto_bucket.settings = settings_of(tmp_path, attempts=1, parallel_parts=1)
    moto_bucket.proxy.faults = [Fault(PIECE["moto"], "status", after=3)]
    with pytest.raises(StoreError):
        put(moto_bucket, local)
    client = services.s3_client(moto_bucket.proxy.upstream)
    for upload in client.list_multipart_uploads(Bucket=moto_bucket.name)["Uploads"]:
        client.abort_multipart_upload(Bucket=moto_bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
    moto_bucket.proxy.requests.clear()
    put(moto_bucket, local)
    assert moto_bucket.proxy.count(PIECE["moto"]) == 5
    assert_there(moto_bucket, tmp_path)


def test_other_content_under_the_same_key_takes_no_piece_of_the_old(moto_bucket, local, tmp_path):
    moto_bucket.settings = settings_of(tmp_path, attempts=1, parallel_parts=1)
    moto_bucket.proxy.faults = [Fault(PIECE["moto"], "status", after=3)]
    with pytest.raises(StoreError):
        put(moto_bucket, local)
    other = bytes(len(CONTENT))
    local.write_bytes(other)
    sha256 = hashlib.sha256(other).hexdigest()
    moto_bucket.store().put(local, "out.mp4", Sensitivity.PRIVATE, sha256=sha256)
    assert moto_bucket.store().get("out.mp4", tmp_path / "x", sha256=sha256).sha256 == sha256


def test_a_damaged_piece_at_the_service_is_sent_again(moto_bucket, local, tmp_path):
    moto_bucket.settings = settings_of(tmp_path, attempts=1, parallel_parts=1)
    moto_bucket.proxy.faults = [Fault(PIECE["moto"], "status", after=3)]
    with pytest.raises(StoreError):
        put(moto_bucket, local)
    client = services.s3_client(moto_bucket.proxy.upstream)
    (upload,) = client.list_multipart_uploads(Bucket=moto_bucket.name)["Uploads"]
    client.upload_part(
        Bucket=moto_bucket.name, Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=2, Body=bytes(5 * MiB)
    )
    moto_bucket.proxy.requests.clear()
    put(moto_bucket, local)
    assert moto_bucket.proxy.count(PIECE["moto"]) == 3
    assert_there(moto_bucket, tmp_path)


def test_a_reader_never_sees_anything_but_the_old_or_the_new(bucket, tmp_path):
    store = bucket.store()
    contents = {
        hashlib.sha256(content).hexdigest(): content for content in (CONTENT[: 6 * MiB], CONTENT[6 * MiB : 13 * MiB])
    }
    files = {}
    for number, (sha256, content) in enumerate(contents.items()):
        files[sha256] = tmp_path / f"{number}.mp4"
        files[sha256].write_bytes(content)
    first, second = files
    store.put(files[first], "out.mp4", Sensitivity.PRIVATE, sha256=first)
    seen, done = set(), threading.Event()

    def look() -> None:
        reader = bucket.store(links="none") if bucket.kind != "file" else bucket.store()
        while not done.is_set():
            stored = reader.head("out.mp4")
            seen.add(None if stored is None else (stored.sha256, stored.size_bytes))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for sha256 in (second, first, second):
            store.put(files[sha256], "out.mp4", Sensitivity.PRIVATE, sha256=sha256)
    finally:
        done.set()
        looking.join(30)
    assert seen <= {(sha256, len(content)) for sha256, content in contents.items()}
    assert seen


READERS = ["moto", "google", pytest.param("azure", marks=pytest.mark.full)]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("action", ["cut_response", "status", "lose_answer"])
def test_reading_goes_on_after_a_break(bucket_of, kind, local, tmp_path, action):
    bucket = bucket_of(kind)
    put(bucket, local)
    bucket.proxy.faults = [Fault(r"GET .*out", action, after=1, times=2)]
    bucket.proxy.requests.clear()
    assert_there(bucket, tmp_path)
    assert 7 <= bucket.proxy.count("GET .*out") <= 8


def test_an_object_that_changes_while_it_is_read_is_not_mixed(moto_bucket, local, tmp_path):
    put(moto_bucket, local)
    client = services.s3_client(moto_bucket.proxy.upstream)
    moved = []

    def change(size: int) -> None:
        if not moved:
            client.put_object(Bucket=moto_bucket.name, Key="faces/of/out.mp4", Body=bytes(len(CONTENT)))
        moved.append(size)

    with pytest.raises(StoreError) as caught:
        moto_bucket.store().get("out.mp4", tmp_path / "back.mp4", watch=change)
    assert caught.value.code == "store.changed"
    assert not (tmp_path / "back.mp4").exists()


def test_google_reads_back_before_it_publishes(google_bucket, local, tmp_path):
    google_bucket.proxy.faults = [Fault(r"GET .*faceflow", "status", status=404, body=b"", times=2)]
    with pytest.raises(StoreError) as caught:
        put(google_bucket, local)
    assert caught.value.code == "store.checksum"
    assert google_bucket.store().head("out.mp4") is None
    google_bucket.proxy.faults.clear()
    put(google_bucket, local)
    assert_there(google_bucket, tmp_path)
    client = services.s3_client(google_bucket.proxy.upstream)
    listed = client.list_objects_v2(Bucket=google_bucket.name)["Contents"]
    assert [entry["Key"] for entry in listed] == ["faces/of/out.mp4"]


ANSWERS = [
    (403, "AccessDenied", StoreSetupError, "store.access_denied"),
    (403, "InvalidAccessKeyId", StoreSetupError, "store.credentials_invalid"),
    (403, "SignatureDoesNotMatch", StoreSetupError, "store.credentials_invalid"),
    (400, "ExpiredToken", StoreSetupError, "store.credentials_expired"),
    (403, "RequestTimeTooSkewed", StoreSetupError, "store.clock"),
    (404, "NoSuchBucket", StoreSetupError, "store.bucket_missing"),
    (301, "PermanentRedirect", StoreSetupError, "store.region_wrong"),
    (400, "KMS.DisabledException", StoreSetupError, "store.encryption_refused"),
    (507, "XMinioStorageFull", StoreSetupError, "store.full"),
    (503, "SlowDown", StoreError, "store.busy"),
    (500, "InternalError", StoreError, "store.busy"),
    (400, "BadDigest", StoreError, "store.damaged"),
    (418, "Teapot", StoreError, "store.refused"),
]


@pytest.mark.parametrize(("status", "word", "kind", "code"), ANSWERS, ids=[word for _, word, _, _ in ANSWERS])
def test_what_the_service_says_is_told_in_our_words(moto_bucket, tmp_path, status, word, kind, code):
    moto_bucket.settings = settings_of(tmp_path, attempts=1)
    answer = f"<?xml version='1.0'?><Error><Code>{word}</Code><Message>secret?X-Amz-Signature=1</Message></Error>"
    moto_bucket.proxy.faults = [Fault("^PUT", "status", times=100, status=status, body=answer.encode())]
    path = tmp_path / "small.mp4"
    path.write_bytes(b"small")
    with pytest.raises(kind) as caught:
        moto_bucket.store().put(path, "out.mp4", Sensitivity.PRIVATE, sha256=hashlib.sha256(b"small").hexdigest())
    assert caught.value.code == code
    assert caught.value.retryable is (kind is StoreError)
    assert caught.value.__cause__ is None
    told = f"{caught.value}{caught.value.fields}"
    assert not any(secret in told for secret in (services.KEY, services.SECRET, "Signature=", "secret?"))


def test_bucket_that_is_not_there(moto_bucket, local):
    moto_bucket.name = "never-made"
    with pytest.raises(StoreSetupError) as caught:
        put(moto_bucket, local)
    assert caught.value.code == "store.bucket_missing"


def test_nobody_there(moto_bucket, local, tmp_path):
    moto_bucket.settings = settings_of(tmp_path, attempts=2, connect_timeout_s=1)
    moto_bucket.fields["endpoint"] = f"http://127.0.0.1:{services.free_port()}"
    for call in (lambda store: store.head("out.mp4"), lambda store: store.delete("out.mp4")):
        with pytest.raises(StoreError) as caught:
            call(moto_bucket.store())
        assert caught.value.code == "store.unreachable"
        assert caught.value.retryable


def test_wrong_keys_at_a_service_that_looks_at_them(seaweed_bucket, local):
    seaweed_bucket.fields["secret_access_key"] = "wrong"
    with pytest.raises(StoreSetupError) as caught:
        put(seaweed_bucket, local)
    assert caught.value.code in ("store.credentials_invalid", "store.access_denied")


def test_no_credentials_anywhere(moto_bucket, local, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    moto_bucket.fields = {"endpoint": moto_bucket.proxy.url}
    with pytest.raises(StoreSetupError) as caught:
        put(moto_bucket, local)
    assert caught.value.code == "store.credentials_missing"
