"""What goes wrong with the Prefect server that is used."""

from __future__ import annotations

from faceflow.errors import FaultError


class ServerError(FaultError):
    """The Prefect server did not start or did not answer."""

    family = "server"
    retryable = True
