"""The server's garbage: collected, and never by a thread that the database's lock may be waiting for."""

from __future__ import annotations

import gc
import sqlite3
import threading
import weakref
from pathlib import Path

import pytest

from faceflow.infrastructure.machine.server.process import garbage_collected_aside
from tests.servers import until


class Node:
    """Something in a cycle, which only the collector frees."""

    def __init__(self, holds: object = None) -> None:
        self.itself, self.holds = self, holds


def test_who_holds_the_write_lock_is_not_kept_from_giving_it_back_by_a_cursor_of_who_waits(tmp_path: Path) -> None:
    path = tmp_path / "database.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE rows (row INTEGER)")
    waiter = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    began, outcome = threading.Event(), []

    def wait_for_the_lock() -> None:
        try:
            waiter.execute("BEGIN IMMEDIATE")
            outcome.append("has it")
        except sqlite3.OperationalError as error:
            outcome.append(str(error))

    with garbage_collected_aside(young_every_s=0.01):
        holder.execute("BEGIN IMMEDIATE")
        cursor = waiter.cursor()
        waiter.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(sqlite3.OperationalError, match="locked"):  # after which the cursor keeps its statement
            cursor.execute("INSERT INTO rows VALUES (1)")
        waiter.execute("PRAGMA busy_timeout = 5000")
        waiter.set_trace_callback(lambda _statement: began.set())
        waiting = threading.Thread(target=wait_for_the_lock)
        waiting.start()
        assert began.wait(10.0)
        Node(cursor)
        del cursor
        kept = [[] for _ in range(10 * gc.get_threshold()[0])]  # whoever makes so much collects, where he is let
        holder.execute("COMMIT")
        waiting.join(20.0)
    assert outcome == ["has it"], len(kept)
    holder.close()
    waiter.close()


def test_garbage_is_still_collected_and_afterwards_as_before() -> None:
    with garbage_collected_aside(young_every_s=0.01):
        assert not gc.isenabled()
        lost = weakref.ref(Node())
        until(lambda: lost() is None)
    assert gc.isenabled()
