"""The schema: made once however many start together, equal to the tables, and never taken back."""

import os
import signal
import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from faceflow.infrastructure.books.book_settings import DatabaseSettings
from faceflow.infrastructure.books.database import upgrading
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.database_errors import DatabaseError, DatabaseSetupError
from faceflow.infrastructure.books.database.schema import SCHEMA_VERSION, Base
from faceflow.infrastructure.books.database.upgrading import VERSION_TABLE, SchemaState, migrations
from tests.forked import forked

fork = forked()


def open_and_say(settings, barrier, said):
    barrier.wait(60)
    with Database.open(settings) as database:
        said.put(str(database.schema_state()))


def upgrade_and_die(settings):
    """Dies with the tables made and not yet kept."""
    real = upgrading._migrate

    def migrate(connection):
        real(connection)
        os.kill(os.getpid(), signal.SIGKILL)

    upgrading._migrate = migrate
    Database.open(settings)


def test_the_newest_migration_is_the_one_that_the_program_names():
    assert ScriptDirectory.from_config(migrations()).get_heads() == [SCHEMA_VERSION]


def test_migrations_make_the_tables_of_the_program(database):
    with database._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    checks = inspect(database._engine)
    assert {check["name"] for check in checks.get_check_constraints("accounts")} == {"ck_accounts_sums"}


def test_opening_again_finds_it_done(database_settings):
    with Database.connect(database_settings) as database:
        assert database.schema_state() is SchemaState.EMPTY
        assert database.upgrade() is SchemaState.EMPTY
        assert database.upgrade() is SchemaState.CURRENT


def test_many_processes_start_together(database_settings):
    number = 6
    barrier, said = fork.Barrier(number), fork.Queue()
    processes = [fork.Process(target=open_and_say, args=(database_settings, barrier, said)) for _ in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * number
    assert [said.get(timeout=5) for _ in processes] == ["current"] * number


def test_an_upgrade_that_is_killed_leaves_nothing(database_settings):
    process = fork.Process(target=upgrade_and_die, args=(database_settings,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with Database.connect(database_settings) as database:
        assert database.schema_state() is SchemaState.EMPTY
        tables = inspect(database._engine).get_table_names()
        assert not set(tables) & set(Base.metadata.tables), tables
        assert database.upgrade() is SchemaState.EMPTY
        assert database.schema_state() is SchemaState.CURRENT


def test_a_newer_schema_is_an_error_and_stays_as_it_is(database, database_settings):
    with database.write() as session:
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for upgrade in (True, False):
        chosen = database_settings.database.model_copy(update={"upgrade": upgrade})
        with pytest.raises(DatabaseSetupError) as raised:
            Database.open(database_settings.model_copy(update={"database": chosen}))
        assert raised.value.code == "database.newer"
    assert database.schema_state() is SchemaState.NEWER


def test_without_permission_to_upgrade_an_older_schema_is_an_error(database_settings):
    chosen = database_settings.database.model_copy(update={"upgrade": False})
    with pytest.raises(DatabaseSetupError) as raised:
        Database.open(database_settings.model_copy(update={"database": chosen}))
    assert raised.value.code == "database.older"


def test_prefects_tables_may_lie_beside_ours(database_settings):
    """Another program's Alembic table is not taken for ours."""
    with Database.connect(database_settings) as database:
        with database.write() as session:
            session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            session.execute(text("INSERT INTO alembic_version VALUES ('zzzz')"))
        assert database.upgrade() is SchemaState.EMPTY
        with database.read() as session:
            assert session.scalar(text("SELECT version_num FROM alembic_version")) == "zzzz"


def test_who_holds_the_upgrade_for_too_long_is_named(tmp_path, database_settings):
    short = DatabaseSettings(url=database_settings.database.url, busy_timeout_s=0.5)
    settings = database_settings.model_copy(update={"database": short})
    with Database.connect(settings) as holder:
        held, ended = threading.Event(), threading.Event()

        def hold():
            with upgrading._locked(holder._engine, holder.address, 10):
                held.set()
                ended.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        try:
            assert held.wait(30)
            begun = time.monotonic()
            with pytest.raises(DatabaseError) as raised:
                Database.open(settings)
            assert raised.value.code == "database.busy"
            assert raised.value.retryable
            assert time.monotonic() - begun < 10
        finally:
            ended.set()
            thread.join()
