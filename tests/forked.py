"""Processes that start at once: forked from one that has imported everything and has no threads."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext


def forked() -> ForkServerContext:
    """The context of such processes; functions that run in them stand in importable modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faceflow.infrastructure.books.budgets.reservations", "alembic.command", "psycopg"])
    return context
