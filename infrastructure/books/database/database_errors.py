"""What goes wrong with the database: it may pass, or somebody has to set it up otherwise."""

from __future__ import annotations

from faceflow.errors import FaultError


class DatabaseError(FaultError):
    """The database did not answer, or not in time. May pass, so it is worth another try."""

    family = "database"
    retryable = True


class DatabaseSetupError(FaultError):
    """The database cannot be used as it is set up: its address, its driver or its schema."""

    family = "database"
