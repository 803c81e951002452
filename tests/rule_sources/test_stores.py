"""What is particular to each store: sign-ins, compare-and-swap, several servers, indexes that go backwards."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from pydantic import SecretStr

from faceflow.infrastructure.routing_settings import RoutingSettings
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.rules import open_source, watching
from faceflow.infrastructure.sources.rules.file_source import FileSource
from faceflow.infrastructure.sources.rules.rule_source import ChangedMeanwhileError, RuleSourceError
from faceflow.infrastructure.sources.source_settings import RuleSourceSettings
from faceflow.settings import PathSettings
from tests.events import captured_events
from tests.routing.worlds import canonical
from tests.rule_sources.places import KEY, consul_place
from tests.rule_sources.test_following import rules
from tests.servers import free_port, needed, running_etcd, until

_, POOLS = canonical()
SECRET = "s3cret-nobody-sees"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    with running_etcd(tmp_path_factory.mktemp("etcd")) as (server, host):
        yield server, host


def etcd_call(host, what, **request):
    answer = httpx.post(f"http://{host}/v3/{what}", json=request, trust_env=False)
    answer.raise_for_status()
    return answer.json()


def ask(address, call, settings=None):
    """What `call` of a source gives, or raises."""

    async def asked():
        source = open_source(address, settings or RuleSourceSettings())
        try:
            return await call(source)
        finally:
            await source.close()

    return asyncio.run(asked())


def settings_for(tmp_path, address, **more):
    return Settings(
        paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"),
        routing=RoutingSettings(rules=address),
        rule_source=RuleSourceSettings(**more),
    )


@pytest.mark.parametrize("kind", ["file", "etcd", "consul"])
def test_of_many_pushes_over_the_same_revision_one_is_taken(kind, tmp_path, etcd):
    def push(number):
        try:
            return ask(address, lambda source: source.push(rules(number).encode(), before))
        except ChangedMeanwhileError:
            return None

    with consul_place(tmp_path) as consul:
        address = {
            "file": str(tmp_path / "rules.json"),
            "etcd": f"etcd://{etcd[1]}/cas",
            "consul": consul.address,
        }[kind]
        before = None
        for round_ in (10, 20):  # first into the empty place, then over what is there
            with ThreadPoolExecutor(8) as threads:
                taken = [one for one in threads.map(push, range(round_, round_ + 8)) if one is not None]
            assert len(taken) == 1
            found = ask(address, lambda source: source.load())
            assert found.revision == taken[0]
            assert json.loads(found.content)["version"] in range(round_, round_ + 8)
            before = found.revision


def test_the_next_server_of_a_cluster_is_asked(etcd, tmp_path):
    _, host = etcd
    key = b64encode(b"cluster").decode()
    etcd_call(host, "kv/put", key=key, value=b64encode(rules(1).encode()).decode())
    settings = settings_for(tmp_path, f"etcd://127.0.0.1:{free_port()},{host}/cluster")
    with watching(settings, POOLS) as keeper:
        until(lambda: keeper.state.live, 10)
        etcd_call(host, "kv/put", key=key, value=b64encode(rules(2).encode()).decode())
        until(lambda: keeper.policy.version == 2, 5)


def test_a_store_that_freezes_is_noticed(etcd, tmp_path):
    """Its connections stay open, and nothing comes: only asking tells."""
    server, host = etcd
    etcd_call(host, "kv/put", key=b64encode(b"frozen").decode(), value=b64encode(rules(1).encode()).decode())
    with watching(settings_for(tmp_path, f"etcd://{host}/frozen", check_s=0.5, timeout_s=0.5), POOLS) as keeper:
        until(lambda: keeper.state.live, 5)
        server.freeze()
        try:
            assert "in time" in until(lambda: keeper.state.outage, 10).reason
            assert keeper.policy.version == 1
        finally:
            server.thaw()
        until(lambda: keeper.state.outage is None, 10)


def test_history_that_was_compacted_is_not_needed(etcd, tmp_path):
    _, host = etcd
    key = b64encode(b"compacted").decode()

    def put(version):
        return etcd_call(host, "kv/put", key=key, value=b64encode(rules(version).encode()).decode())

    first = put(1)["header"]["revision"]
    put(2)
    etcd_call(host, "kv/compaction", revision=put(3)["header"]["revision"])
    ask(f"etcd://{host}/compacted", lambda source: asyncio.wait_for(source.wait_for_change(first), 5))


def test_etcd_with_users(tmp_path):
    with running_etcd(tmp_path / "etcd", "--auth-token", "simple") as (_, host):
        key, value = b64encode(b"rules").decode(), b64encode(rules(1).encode()).decode()
        etcd_call(host, "kv/put", key=key, value=value)
        etcd_call(host, "auth/user/add", name="root", password=SECRET)
        etcd_call(host, "auth/user/grant", user="root", role="root")
        etcd_call(host, "auth/enable")
        address = f"etcd://{host}/rules"
        with pytest.raises(RuleSourceError, match="ETCD_USER"):
            ask(address, lambda source: source.load())
        wrong = settings_for(tmp_path, address, etcd_user="root", etcd_password=SecretStr("wrong"))
        with captured_events() as events, watching(wrong, POOLS) as keeper:
            assert "denies access" in until(lambda: keeper.state.outage, 5).reason
        right = settings_for(tmp_path, address, etcd_user="root", etcd_password=SecretStr(SECRET))
        with captured_events() as more, watching(right, POOLS) as keeper:
            until(lambda: keeper.state.live, 5)
            token = etcd_call(host, "auth/authenticate", name="root", password=SECRET)["token"]
            httpx.post(
                f"http://{host}/v3/kv/put",
                json={"key": key, "value": b64encode(rules(2).encode()).decode()},
                headers={"Authorization": token},
                trust_env=False,
            ).raise_for_status()
            until(lambda: keeper.policy.version == 2, 5)
        kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
        assert SECRET not in f"{events} {more} {right!r} {right.model_dump_json()} {kept!r}"


def test_a_token_of_etcd_that_ran_out_is_renewed(tmp_path):
    with running_etcd(tmp_path / "etcd", "--auth-token", "simple") as (_, host):
        etcd_call(host, "kv/put", key=b64encode(b"rules").decode(), value=b64encode(rules(1).encode()).decode())
        etcd_call(host, "auth/user/add", name="root", password=SECRET)
        etcd_call(host, "auth/user/grant", user="root", role="root")
        etcd_call(host, "auth/enable")

        async def twice(source):
            await source.load()
            source._token = "gone.1"
            return await source.load()

        settings = RuleSourceSettings(etcd_user="root", etcd_password=SecretStr(SECRET))
        assert ask(f"etcd://{host}/rules", twice, settings).content == rules(1).encode()


def test_etcd_over_tls(tmp_path):
    openssl = needed("openssl", "openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    from tests.servers import running

    port, peer = free_port(), free_port()
    command = [
        needed("etcd", "etcd-server"), "--data-dir", str(tmp_path / "data"), "--logger", "zap", "--log-level", "error",
        "--listen-client-urls", f"https://127.0.0.1:{port}", "--advertise-client-urls", f"https://127.0.0.1:{port}",
        "--cert-file", str(certificate), "--key-file", str(key), "--listen-metrics-urls", f"http://127.0.0.1:{peer}",
        "--listen-peer-urls", "http://127.0.0.1:0", "--initial-advertise-peer-urls", "http://127.0.0.1:0",
        "--initial-cluster", "default=http://127.0.0.1:0",
    ]  # fmt: skip
    with running(command, f"http://127.0.0.1:{peer}/health", tmp_path / "etcd"):
        address = f"etcds://127.0.0.1:{port}/rules"
        with pytest.raises(RuleSourceError, match=r"cannot be reached.*certificate"):
            ask(address, lambda source: source.load())
        trusting = RuleSourceSettings(tls_authority=certificate)
        revision = ask(address, lambda source: source.push(rules(1).encode(), None), trusting)
        assert ask(address, lambda source: source.load(), trusting).revision == revision


def test_consul_with_a_token(tmp_path):
    with consul_place(tmp_path, SECRET) as place:
        place.put(rules(1))
        with pytest.raises(RuleSourceError, match="CONSUL_TOKEN"):
            ask(place.address, lambda source: source.load())
        settings = settings_for(tmp_path, place.address, consul_token=SecretStr(SECRET))
        with captured_events() as events, watching(settings, POOLS) as keeper:
            until(lambda: keeper.state.live, 5)
            place.put(rules(2))
            until(lambda: keeper.policy.version == 2, 5)
            place.go_away()
            until(lambda: keeper.state.outage, 5)
        assert SECRET not in f"{events} {settings!r}"


def test_a_consul_that_was_set_up_anew(tmp_path):
    """Its index begins from the start, far below the one that is waited for."""
    with consul_place(tmp_path) as place:
        for version in range(1, 6):
            place.put(rules(version))
        with watching(settings_for(tmp_path, place.address), POOLS) as keeper:
            until(lambda: keeper.state.live, 5)
            place.go_away()
            (tmp_path / "consul" / "kv.json").unlink()
            place.come_back()
            place.put(rules(6))
            until(lambda: keeper.policy.version == 6, 10)
            place.put(rules(7))
            until(lambda: keeper.policy.version == 7, 2)


def test_a_file_that_is_being_written_is_waited_for(tmp_path):
    path = tmp_path / "rules.json"
    path.write_text(rules(1))
    slow = settings_for(tmp_path, str(path), poll_s=1.2)  # so that no pause of a busy machine is taken for rest
    with captured_events() as events, watching(slow, POOLS) as keeper:
        text = rules(2)
        with path.open("w") as file:
            for character in text:
                file.write(character)
                file.flush()
                os.fsync(file.fileno())
        until(lambda: keeper.policy.version == 2, 5)
        assert keeper.state.refused is None
    assert "rules.refused" not in {event["event"] for event in events}


def test_a_config_map_that_is_mounted(tmp_path):
    """Kubernetes swaps a symbolic link two folders above the name that programs open."""
    for version in (1, 2):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "rules.json").write_text(rules(version))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "rules.json").symlink_to("..data/rules.json")
    with watching(settings_for(tmp_path, str(tmp_path / "rules.json")), POOLS) as keeper:
        assert keeper.policy.version == 1
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        until(lambda: keeper.policy.version == 2, 5)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe version: 1", "not UTF-8 text (byte 0)"),
        (b"# " + b"x" * 1024 * 1024, "longer than 1 MiB"),
        (b"", "the text is empty"),
        (b"version: 1\nversion: 2\nrules: []", "this key appears twice"),
    ],
)
def test_texts_that_are_none(tmp_path, content, problem):
    path = tmp_path / "rules.yaml"
    path.write_text(rules(1))
    with watching(settings_for(tmp_path, str(path)), POOLS) as keeper:
        path.write_bytes(content)
        refused = until(lambda: keeper.state.refused, 5)
        assert problem in refused.problems[0]
        assert keeper.policy.version == 1


def test_a_pushed_file_keeps_its_mode_and_lies_whole(tmp_path):
    path = tmp_path / "rules.json"
    path.write_text(rules(1))
    path.chmod(0o640)

    async def push(source):
        return await source.push(rules(2).encode(), (await source.load()).revision)

    ask(str(path), push)
    assert (path.stat().st_mode & 0o777, path.read_text()) == (0o640, rules(2))
    with pytest.raises(RuleSourceError, match="No such file"):
        ask(str(tmp_path / "nowhere" / "rules.json"), lambda source: source.push(b"x", None))


def test_following_ends_at_once(tmp_path, etcd):
    """Whatever the source waits for, the block does not wait for it."""
    import time

    with consul_place(tmp_path) as place:
        place.put(rules(1))
        for address in (place.address, f"etcd://{etcd[1]}/{KEY}", str(tmp_path / "rules.json")):
            with watching(settings_for(tmp_path, address), POOLS):
                begun = time.monotonic()
            assert time.monotonic() - begun < 8, "the source waits for many times as long"


def test_file_source_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert FileSource(tmp_path / "a.yaml", 0.1).shown == str(tmp_path / "a.yaml")
    with closing(asyncio.new_event_loop()) as loop, pytest.raises(RuleSourceError) as caught:
        loop.run_until_complete(FileSource(tmp_path / "a.yaml", 0.1).load())
    assert caught.value.absent
