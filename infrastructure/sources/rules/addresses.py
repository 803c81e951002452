"""From an address of rules to the source that it names.

    rules.yaml, file:///etc/faceflow/rules.yaml     a file
    block:NAME                                      the Prefect block `routing-policy/NAME`
    etcd://HOST:PORT[,HOST:PORT...]/KEY             a key of etcd; etcds:// over TLS
    consul://HOST:PORT/KEY                          a key of Consul; consuls:// over TLS

Addresses are shown, logged and stored, so they hold no passwords: those are settings of their own.
"""

from __future__ import annotations

import re
from pathlib import Path

from faceflow.errors import JobError
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.sources.rules.consul_source import ConsulSource
from faceflow.infrastructure.sources.rules.etcd_source import EtcdSource
from faceflow.infrastructure.sources.rules.file_source import FileSource
from faceflow.infrastructure.sources.rules.rule_source import RuleSource, RuleSourceError
from faceflow.infrastructure.sources.source_settings import RuleSourceSettings, SettingsWithSources
from faceflow.installation import installation
from faceflow.locations import local_path

_STORE = re.compile(r"(?P<kind>etcd|consul)(?P<encrypted>s?)://(?P<hosts>[^/]*)/(?P<key>.+)", re.DOTALL)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_BLOCK = re.compile(r"[a-z0-9][a-z0-9-]*")


def is_file(address: str) -> bool:
    """Whether the address is that of a file."""
    return not address.startswith("block:") and ("://" not in address or address.startswith("file://"))


def open_source(address: str, settings: RuleSourceSettings) -> RuleSource:
    """The source that `address` names. Nothing is asked yet.

    Raises:
        PolicyError: `policy.source_invalid`.
    """
    if address.startswith("block:"):
        return _block(address.removeprefix("block:"), settings)
    if is_file(address):
        try:
            return FileSource(local_path(address), settings.poll_s)
        except JobError as error:
            raise _invalid(f"a file:// address must name a file on this machine. {error.message}") from None
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise _invalid("an address must not contain a user name or password; set FACEFLOW_RULE_SOURCE__... instead")
    match = _STORE.fullmatch(address)
    if match is None:
        raise _invalid(f"{address!r} is not one of PATH, block:NAME, etcd://HOST:PORT/KEY, consul://HOST:PORT/KEY")
    hosts = match["hosts"].split(",")
    if any(not _HOST.fullmatch(host) for host in hosts) or (match["kind"] == "consul" and len(hosts) > 1):
        raise _invalid(f"{address!r} does not name HOST:PORT")
    encrypted = bool(match["encrypted"])
    try:
        if match["kind"] == "etcd":
            return EtcdSource(hosts, match["key"], settings, encrypted=encrypted)
        return ConsulSource(hosts[0], match["key"], settings, encrypted=encrypted)
    except RuleSourceError as error:
        raise _invalid(error.reason) from None


def configured_source(settings: SettingsWithSources) -> RuleSource:
    """The source that `FACEFLOW_ROUTING__RULES` names.

    Raises:
        PolicyError: `policy.rules_missing`, `policy.source_invalid`.
    """
    if settings.routing.rules is None:
        raise PolicyError(
            "policy.rules_missing",
            "No rules are configured.",
            f"Use --rules, or set FACEFLOW_ROUTING__RULES; {installation().example('policies/canonical.yaml')}.",
        )
    return open_source(settings.routing.rules, settings.rule_source)


def rules_folder(settings: SettingsWithSources) -> Path:
    """Where the last good rules are kept."""
    return settings.paths.state / "rules"


def _block(name: str, settings: RuleSourceSettings) -> RuleSource:
    if not _BLOCK.fullmatch(name):
        raise _invalid(f"{name!r} is not a block name: use lower-case letters, digits and dashes")
    from faceflow.infrastructure.sources.rules.block_source import BlockSource  # noqa: PLC0415 (imports Prefect: 2 s)

    return BlockSource(name, settings.poll_s, settings.timeout_s)


def _invalid(what: str) -> PolicyError:
    return PolicyError(
        "policy.source_invalid",
        f"The address of the rules cannot be used: {what}.",
        "Use a path, block:NAME, etcd://HOST:PORT/KEY or consul://HOST:PORT/KEY; docs/routing.md describes each.",
    )
