"""The environment that points Prefect at the product's server and folders.

Prefect reads its settings from the environment when it is imported, so these are set before that, in the command
itself and in every process it starts.
"""

from __future__ import annotations

import os
from pathlib import Path

from infrastructure.server.record import ServerFiles

HEARTBEAT_S = 30
"""How often a run says that it is alive, seconds; the least that Prefect allows."""


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


def server_environment(state: Path, port: int) -> dict[str, str]:
    """Variables for the server itself: its database, its address and nothing that calls home."""
    files = ServerFiles(state)
    api_url = f"http://127.0.0.1:{port}/api"
    return {
        **client_environment(state, api_url),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{files.database}",
        "PREFECT_UI_API_URL": api_url,
        "PREFECT_SERVER_EVENTS_WEBSOCKET_BACKFILL_PAGE_SIZE": "50",
        # Runs of schedules are made for the next minutes only: a hundred at once make a busy SQLite give up.
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "10",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT5M",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    }


def python_path() -> str:
    """PYTHONPATH for our child processes, so that they import this very faceflow wherever they run."""
    ours = str(Path(__file__).parents[2])
    return os.pathsep.join([ours, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
