"""Who asks the cluster, and what he may: tokens of service accounts, Roles and RoleBindings.

The token that a kubelet mounts into a pod stands in a kubeconfig here, which is the pod's alone. Whoever shows none is
turned away (401); an account may do what a Role grants that a RoleBinding of the same namespace binds it to, and
nothing else (403). The operator has the administrator's token. What kinds there are anyone may ask who is known.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import ssl
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cloud.kubernetes_objects import KINDS, Objects, RefusedError

ADMINISTRATOR = "administrator"


class Rights:
    """The tokens of a cluster, and the certificate that its API server shows."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.certificate = Certificate()
        self._administrator = secrets.token_urlsafe()
        self._tokens: dict[tuple[str, str], str] = {}

    def token(self, namespace: str = "", account: str = ADMINISTRATOR) -> str:
        """Of a service account; without one, the administrator's."""
        if not namespace:
            return self._administrator
        return self._tokens.setdefault((namespace, account), secrets.token_urlsafe())

    def check(self, token: str, namespace: str, kind: str, verb: str) -> None:
        """Refuses what the holder of a token may not do; `kind` is a plural, or one with `/log`. No kind: discovery.

        Raises:
            RefusedError: 401 or 403.
        """
        if token == self._administrator:
            return
        holder = next((account for account, its in self._tokens.items() if its == token), None)
        if holder is None:
            raise RefusedError(401, "Unauthorized", "Unauthorized")
        if kind and not (namespace and self._granted(holder, namespace, kind, verb)):
            group = KINDS[kind.partition("/")[0]].group
            raise RefusedError(
                403, "Forbidden",
                f'{kind} is forbidden: User "system:serviceaccount:{holder[0]}:{holder[1]}" cannot {verb} resource '
                f'"{kind}" in API group "{group}" in the namespace "{namespace}"',
            )  # fmt: skip

    def _granted(self, holder: tuple[str, str], namespace: str, kind: str, verb: str) -> bool:
        group = KINDS[kind.partition("/")[0]].group
        for (where, _), binding in list(self._objects.things["rolebindings"].items()):
            bound = {(one.get("namespace"), one["name"]) for one in binding["subjects"]}
            role = self._objects.things["roles"].get((where, binding["roleRef"]["name"]))
            if where == namespace and holder in bound and role is not None:
                for rule in role["rules"]:
                    if group in rule["apiGroups"] and kind in rule["resources"] and verb in rule["verbs"]:
                        return True
        return False


class Certificate:
    """Of the API server, signed by itself. Clients show tokens to nobody who speaks plain HTTP."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        began = datetime.now(UTC) - timedelta(hours=1)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.text = certificate.public_bytes(serialization.Encoding.PEM)
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def context(self, folder: Path) -> ssl.SSLContext:
        """For the server; writes both into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "api-server.pem"
        path.write_bytes(self._key + self.text)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def write_kubeconfig(path: Path, url: str, certificate: bytes, token: str, namespace: str) -> Path:
    """What `kubectl`, helm and workers find the cluster by."""
    cluster = {"server": url, "certificate-authority-data": b64encode(certificate).decode()}
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": namespace}}],
    }))  # fmt: skip
    return path
