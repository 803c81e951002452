"""Where the database is, and that nobody learns its password from us."""

import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from sqlalchemy import text

from faceflow.infrastructure.books.book_settings import DatabaseSettings
from faceflow.infrastructure.books.database.address import address_of
from faceflow.infrastructure.books.database.columns import Usd, UtcMoment
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.database_errors import DatabaseError, DatabaseSetupError
from faceflow.infrastructure.books.database.money import whole_micros
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings

SECRET = "hunter2!"


def settings_for(url, tmp_path, **more):
    paths = PathSettings(state=tmp_path / "state", scratch=tmp_path)
    return Settings(paths=paths, database=DatabaseSettings(url=url, **more))


def test_the_default_is_a_file_in_the_state_folder_for_its_owner_only(tmp_path):
    settings = Settings(paths=PathSettings(state=tmp_path / "state", scratch=tmp_path))
    with Database.open(settings) as database:
        assert str(database.address) == f"SQLite at {tmp_path / 'state' / 'faceflow.db'}"
        with database.read() as session:
            assert session.scalar(text("PRAGMA journal_mode")) == "wal"
            assert session.scalar(text("PRAGMA synchronous")) == 2
    assert (tmp_path / "state" / "faceflow.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEFLOW_DATABASE__URL", f"postgres://me:{SECRET}@db.example:6543/flow?sslpassword={SECRET}")
    settings = Settings()
    address = address_of(settings)
    assert address.url.drivername == "postgresql+psycopg"
    assert address.url.password == SECRET
    assert str(address) == "PostgreSQL database 'flow' on db.example:6543"
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(address), str(address)):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "url",
    [
        f"nonsense-{SECRET}",
        f"mysql://me:{SECRET}@127.0.0.1/x",
        f"postgresql+asyncpg://me:{SECRET}@127.0.0.1/x",
        "sqlite://",
        "sqlite:///:memory:",
        f"postgresql://me:{SECRET}@127.0.0.1:port/x",
        "",
    ],
)
def test_a_wrong_url_is_refused_without_quoting_it(url, tmp_path):
    with pytest.raises(DatabaseSetupError) as raised:
        Database.open(settings_for(url, tmp_path))
    assert raised.value.code == "database.url_invalid"
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def everything_said(error, caplog):
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error.to_dict())
    return shown + caplog.text + pickle.dumps(error).decode("latin-1")


def test_a_server_that_does_not_answer(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DatabaseError) as raised:
        Database.open(settings_for(f"postgresql://me:{SECRET}@127.0.0.1:1/x", tmp_path))
    assert raised.value.code == "database.unreachable"
    assert SECRET not in everything_said(raised.value, caplog)


def test_a_wrong_password(postgres, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    url = f"postgresql://postgres:{SECRET}@127.0.0.1:{postgres.port}/postgres"
    with pytest.raises(DatabaseError) as raised:
        Database.open(settings_for(url, tmp_path))
    assert raised.value.code == "database.unreachable"
    assert SECRET not in everything_said(raised.value, caplog)


def test_a_statement_that_fails_says_no_values(database, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DatabaseError) as raised, database.read() as session:
        session.execute(text("SELECT * FROM nothing WHERE x = :x"), {"x": SECRET})
    assert raised.value.code == "database.failed"
    assert SECRET not in everything_said(raised.value, caplog)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "state").write_text("a file is in the way")
    with pytest.raises(DatabaseError) as raised:
        Database.open(Settings(paths=PathSettings(state=tmp_path / "state", scratch=tmp_path)))
    assert raised.value.code == "database.unreachable"


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "faceflow.db").write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    with pytest.raises(DatabaseSetupError) as raised:
        Database.open(Settings(paths=PathSettings(state=tmp_path / "state", scratch=tmp_path)))
    assert (raised.value.code, raised.value.retryable) == ("database.damaged", False)
    assert "not a database" in raised.value.message


def test_a_block_that_fails_leaves_nothing(database):
    with database.write() as session:
        session.execute(text("CREATE TABLE kept (x INTEGER)"))
    with pytest.raises(ZeroDivisionError), database.write() as session:
        session.execute(text("INSERT INTO kept VALUES (1)"))
        raise ZeroDivisionError
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM kept")) == 0


def test_another_writer_is_waited_for_and_then_named(tmp_path):
    settings = settings_for(f"sqlite:///{tmp_path / 'file.db'}", tmp_path, busy_timeout_s=0.3)
    with Database.open(settings) as first, Database.open(settings) as second, first.write():
        with pytest.raises(DatabaseError) as raised, second.write():
            raise AssertionError("two cannot write at once")
        assert raised.value.code == "database.busy"
        with second.read() as session:  # readers do not wait
            assert session.scalar(text("SELECT count(*) FROM budgets")) == 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [("0", "0.000000"), ("0.0000001", "0.000001"), ("1.5", "1.500000"), ("999999999.999999", "999999999.999999")],
)
def test_money_is_rounded_up_to_a_millionth(given, kept):
    assert whole_micros(Decimal(given)) == Decimal(kept)
    stored = Usd().process_bind_param(whole_micros(Decimal(given)), None)
    assert isinstance(stored, int)
    assert Usd().process_result_value(stored, None) == Decimal(kept)


@pytest.mark.parametrize("given", ["-0.000001", "NaN", "sNaN", "Infinity", "-Infinity", "1000000000.000001"])
def test_what_is_no_amount(given):
    with pytest.raises(ValueError, match="an amount"):
        whole_micros(Decimal(given))


def test_money_finer_than_a_millionth_and_moments_without_offset_are_not_stored():
    with pytest.raises(ValueError, match="finer"):
        Usd().process_bind_param(Decimal("0.0000001"), None)
    with pytest.raises(ValueError, match="offset"):
        UtcMoment().process_bind_param(datetime(2026, 1, 1), None)


def test_moments_come_back_as_they_were(database):
    from faceflow.infrastructure.books.budgets.limits import set_limit
    from faceflow.infrastructure.books.database.schema import BudgetRow

    moment = datetime(2026, 12, 31, 23, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
    set_limit(database, "film", Decimal(1), clock=lambda: moment)
    with database.read() as session:
        kept = session.get(BudgetRow, ("film", "always")).changed_at
    assert kept == moment
    assert kept.tzinfo is UTC
