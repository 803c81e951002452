"""The environment that points Prefect at the product's server and folders.

Prefect reads its settings from the environment when it is imported, so these are set before that, in the command
itself (`point_prefect_at`) and in every process it starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from faceflow.infrastructure.machine.server.inherited import connection, inherited, server_ground
from faceflow.infrastructure.machine.server.prefect_files import import_prefect
from faceflow.infrastructure.machine.server.record import ServerFiles

HEARTBEAT_S = 30
"""How often a run says that it is alive, seconds; the least that Prefect allows."""
CONSOLE_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"


def client_environment(state: Path, api_url: str) -> dict[str, str]:
    """Variables for a process that runs flows against `api_url`.

    Results are kept as JSON below `<state>/results`, so that a run can go on after a crash, whichever server it
    talks to.
    """
    return {
        "PREFECT_API_URL": api_url,
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_PROFILES_PATH": str(state / "prefect" / "profiles.toml"),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(state / "results"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        "DO_NOT_TRACK": "1",
    }


def server_environment(state: Path, port: int, environment: Mapping[str, str]) -> dict[str, str]:
    """All variables of the server: its database, its address, nothing that calls home, and nothing of the user's.

    Args:
        state: the state folder.
        port: where it listens on 127.0.0.1.
        environment: of the user, from which hardly anything is taken over.
    """
    files = ServerFiles(state)
    api_url = f"http://127.0.0.1:{port}/api"
    return {
        **server_ground(environment, state / "prefect"),
        **client_environment(state, api_url),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{files.database}",
        "PREFECT_UI_API_URL": api_url,
        "PREFECT_SERVER_EVENTS_WEBSOCKET_BACKFILL_PAGE_SIZE": "50",
        # Runs of schedules are made for the next minutes only: a hundred at once make a busy SQLite give up.
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "10",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT5M",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    }


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """All variables of a worker and its jobs: what they take over, and the server at which `environment` points."""
    ours = {name: environment[name] for name in client_environment(Path(), "") if name in environment}
    return {**inherited(environment), **ours}


def point_prefect_at(state: Path, api_url: str | None, *, quiet: bool = False) -> None:
    """Points this process at a server and imports Prefect, which then knows nothing of the user's own Prefect.

    Args:
        state: the state folder.
        api_url: where the server answers; None where there is none.
        quiet: whether Prefect's own log lines go to the server only, where the UI shows them.

    Raises:
        ServerError: `server.settings_invalid`.
    """
    kept = connection(os.environ)  # nothing, unless the user names a server
    for name in [name for name in os.environ if name.upper().startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update({**kept, **client_environment(state, api_url or "")})
    if api_url is None:
        del os.environ["PREFECT_API_URL"]
    if quiet:
        os.environ[CONSOLE_LEVEL] = "CRITICAL"
    import_prefect(state / "prefect")
