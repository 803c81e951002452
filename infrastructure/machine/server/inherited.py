"""What processes of faceflow take over from the environment in which the user works: what is on this list.

A user's environment is made for other programs too. Variables of Prefect would let our server write into the user's
own database, those of Python put other modules in the place of ours, those of a tracer or a web server change what
libraries do; nobody knows all of them. So nothing is taken out of it: what is needed is taken over, and the rest is not
there.

    the user's environment -> inherited() -> the command itself, its worker, and the worker's jobs
                           -> server_ground() -> the keeper and the server, which need nearly nothing

Variables of Prefect are taken over only where the user names a server with `PREFECT_API_URL`, and then those by which
one reaches it and signs in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from faceflow.infrastructure.machine.server.python_variables import PYTHON_NAMES, python_variables
from faceflow.infrastructure.proxies import host_of, is_loopback, is_proxy_variable, ordered_proxies

API_URL: Final = "PREFECT_API_URL"

# fmt: off
NAMES: Final = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "TZ", "TMPDIR", "TMP", "TEMP", "LANG", "LANGUAGE", "CI",
    "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "KUBECONFIG",
    "DO_NOT_TRACK",
})
"""Names that are taken over: who and where the user is, how the terminal looks, which certificates hold."""
FAMILIES: Final = (
    "FACEFLOW_", "_FACEFLOW_COMPLETE", "_TYPER_COMPLETE_", "COMP_WORDS", "COMP_CWORD",
    "LC_", "XDG_", "SSL_CERT_",
    "AWS_", "AZURE_", "IDENTITY_", "IMDS_", "MSI_", "ECS_", "BOTO_", "GOOGLE_", "GCE_", "GCLOUD_", "CLOUDSDK_",
    "ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_", "OSS_", "KUBERNETES_", "REGISTRY_", "DOCKER_", "PG",
    "LD_", "MALLOC_", "GLIBC_", "CUDA_", "CUDNN_", "CUBLAS_", "NCCL_", "NVIDIA_", "TENSORRT_", "TRT_", "ORT_",
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "OPENCV_", "TF_", "XNNPACK_",
)
"""Beginnings of names that are taken over: settings, what the shell asks to be completed, locale, signing in to clouds,
loaders, graphics and arithmetic."""
# fmt: on
SERVER_NAMES: Final = frozenset({"PATH", "TMPDIR", "TZ", *PYTHON_NAMES})
SERVER_FAMILIES: Final = ("LD_", "SSL_CERT_")
"""What the local server takes over."""
CONNECTION_NAMES: Final = frozenset(
    f"PREFECT_API_{name}"
    for name in ("URL", "KEY", "AUTH_STRING", "SSL_CERT_FILE", "TLS_INSECURE_SKIP_VERIFY", "ENABLE_HTTP2")
) | {"PREFECT_API_REQUEST_TIMEOUT"}
"""How one reaches a named Prefect server and signs in."""
CONNECTION_FAMILIES: Final = ("PREFECT_CLIENT_", "PREFECT_CLOUD_")


def named_server(environment: Mapping[str, str]) -> str | None:
    """The Prefect server that the user names, None where faceflow is to use its own."""
    return environment.get(API_URL, "").strip() or None


def is_cloud(api_url: str) -> bool:
    """Whether it is Prefect's own service, which has other pages beside its API than a server."""
    host = host_of(api_url)
    return host == "prefect.cloud" or host.endswith(".prefect.cloud")


def connection(environment: Mapping[str, str]) -> dict[str, str]:
    """How a named server is reached; nothing where none is named."""
    if named_server(environment) is None:
        return {}
    return {
        name: value
        for name, value in environment.items()
        if value and (name in CONNECTION_NAMES or name.startswith(CONNECTION_FAMILIES))
    }


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What the command, its worker and the worker's jobs take over from `environment`."""
    taken = {
        name: value
        for name, value in environment.items()
        if not is_proxy_variable(name) and (name in NAMES or name in PYTHON_NAMES or name.startswith(FAMILIES))
    }
    host = host_of(named_server(environment) or "")
    proxies = ordered_proxies(environment, [host] if is_loopback(host) else [])
    return {**taken, **connection(environment), **proxies, **python_variables(environment)}


def server_ground(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """What the keeper and the server start from, with `home` in the place of the user's own home."""
    taken = {
        name: value
        for name, value in environment.items()
        if name in SERVER_NAMES or (name.startswith(SERVER_FAMILIES) and not is_proxy_variable(name))
    }
    ours = {**ordered_proxies(environment), **python_variables(environment)}
    return {**taken, **ours, "HOME": str(home), "LANG": "C.UTF-8"}
