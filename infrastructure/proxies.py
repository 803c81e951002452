"""The machine's proxies: for what lies beyond it, never for a server on it.

Libraries read `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` from the environment, in small letters or
capitals, each in its own way; and one value that a library cannot read ends every client of that library, also those
that would not have used the proxy. So the variables are put in order once, before anything reads them, and every
process that is started inherits them so:

- loopback is in `no_proxy`, under both names, besides what the user wrote there;
- what a library cannot read in `no_proxy` is written as it can be, or left out;
- a proxy that no library here can use is taken out, and remembered: a download that would have gone through it is
  refused with its name (`require_usable_proxy`) rather than sent past it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from faceflow.errors import ResourceError

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1", "127.0.0.0/8", "0.0.0.0")  # noqa: S104 - asked, never bound
"""Names of this machine. Some clients know networks, others only single addresses."""
UNUSABLE: Final = "FACEFLOW_UNUSABLE_PROXIES"
"""Variable in which proxies that were taken out are remembered, for child processes too."""
_SCHEMES = ("http", "https", "socks5", "socks5h")
_SUFFIX = "_proxy"
_EVERYTHING = "*"
_LABEL = "[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
_PLAIN_ENTRY = re.compile(rf"\.?{_HOST}")
_PLAIN_PROXY = re.compile(rf"({'|'.join(_SCHEMES)})://{_HOST}(:[1-9][0-9]{{0,3}})?/?")
"""Plain names, which every library reads: so most commands need not load a client's library to judge their values."""


def ordered_proxies(environment: Mapping[str, str], local_hosts: Iterable[str] = ()) -> dict[str, str]:
    """The variables about proxies as every library here can read them, and nothing else.

    Args:
        environment: where they are read from, however they are spelled; small letters win, as everywhere.
        local_hosts: further names and addresses of this machine.
    """
    found = _by_scheme(environment)
    unusable = remembered_proxies(environment)
    usable: dict[str, str] = {}
    for scheme, (name, value) in found.items():
        if scheme == "no":
            continue
        reason = _fault(value)
        if reason is None:
            usable[scheme] = value.strip()
        else:
            unusable[scheme] = f"{name} ({reason})"
    ordered = {f"{scheme}{_SUFFIX}": value for scheme, value in usable.items()}
    ordered |= {name.upper(): value for name, value in ordered.items()}
    bypass = _bypass([value for name, value in environment.items() if name.lower() == "no_proxy"], local_hosts)
    ordered |= {"no_proxy": bypass, "NO_PROXY": bypass}
    if unusable:
        ordered[UNUSABLE] = json.dumps(unusable, sort_keys=True)
    return ordered


def is_proxy_variable(name: str) -> bool:
    """Whether `name` says something about proxies, in whatever letters."""
    return name.lower().endswith(_SUFFIX) or name == UNUSABLE


def remembered_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Proxies that were taken out, by what they are for: the variable's name and why."""
    try:
        value = json.loads(environment.get(UNUSABLE, "{}"))
    except ValueError:
        return {}
    return {str(key): str(one) for key, one in value.items()} if isinstance(value, dict) else {}


def unusable_proxy(address: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The variable that names a proxy for `address` which cannot be used, with the reason; None where all is well."""
    environment = os.environ if environment is None else environment
    unusable = remembered_proxies(environment)
    scheme = "http" if address.startswith("http:") else "https"
    if not unusable or is_loopback(host_of(address)) or environment.get("no_proxy") == _EVERYTHING:
        return None
    if scheme in unusable:
        return unusable[scheme]
    return None if f"{scheme}{_SUFFIX}" in environment else unusable.get("all")


def require_usable_proxy(address: str) -> None:
    """That a download from `address` does not need a proxy which cannot be used.

    Raises:
        ResourceError: `fault.proxy_unusable`.
    """
    said = unusable_proxy(address)
    if said is not None:
        raise ResourceError(
            "fault.proxy_unusable",
            f"The connection to {host_of(address) or 'the network'} goes through a proxy that cannot be used: {said}.",
            "Correct or unset that variable, or add the host to no_proxy.",
        )


def host_of(address: str) -> str:
    """The host that an address names; empty where it names none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its very name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _by_scheme(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Names and values by what they are for, without empty ones; small letters win, and an empty one in them too."""
    found: dict[str, tuple[str, str]] = {}
    for name in sorted((name for name in environment if name.lower().endswith(_SUFFIX)), key=str.islower):
        found[name.lower().removesuffix(_SUFFIX)] = (name, environment[name])
    return {scheme: one for scheme, one in found.items() if one[1].strip()}


def _fault(value: str) -> str | None:
    """Why no library here can use this proxy, without its password."""
    whole = value.strip() if "://" in value else f"http://{value.strip()}"
    scheme = whole.split("://", 1)[0].lower()
    if scheme not in _SCHEMES:
        return f"{scheme or 'an empty scheme'} is not a supported kind of proxy; supported: {', '.join(_SCHEMES)}"
    if _PLAIN_PROXY.fullmatch(whole):
        return None
    import httpx

    try:
        url = httpx.URL(whole)
        port = urlsplit(whole).port
    except (ValueError, httpx.InvalidURL):
        return "it is not an address"
    if not url.host or any(letter.isspace() for letter in whole):
        return "it has no host"
    return "its port is 0" if port == 0 else None


def _bypass(values: Iterable[str], local_hosts: Iterable[str]) -> str:
    """`no_proxy` with loopback in it."""
    entries = [entry.strip() for value in values for entry in value.split(",")]
    if _EVERYTHING in entries:
        return _EVERYTHING  # some clients know it only when it stands alone
    readable = [entry for entry in map(_readable, entries) if entry]
    return ",".join(dict.fromkeys([*readable, *LOOPBACK, *local_hosts]))


def _readable(entry: str) -> str:
    """The entry as every client can read it: no brackets, no star, in ASCII; empty where it cannot be written so."""
    entry = entry.removeprefix("*") if entry.startswith("*.") else entry
    if entry.startswith("[") and entry.endswith("]"):
        entry = entry[1:-1]
    if not entry.isascii():
        try:
            entry = entry.encode("idna").decode()
        except UnicodeError:
            return ""
    try:
        ipaddress.ip_address(entry)
    except ValueError:
        pass
    else:
        return entry
    if _PLAIN_ENTRY.fullmatch(entry):
        return entry
    import httpx

    try:
        httpx.URL(f"all://*{entry}")
    except httpx.InvalidURL:
        return ""
    # A network of IPv6: httpx takes it for an address and cannot read it.
    return "" if ":" in entry and "/" in entry and "://" not in entry else entry
