"""An environment that is made for everything but faceflow: variables of proxies, Prefect, Python and locale at once.

And a folder to work in that has files of another project of Prefect's in it, broken ones, and modules named like ours.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

NOBODY = "http://127.0.0.1:9"
LIBRARIES = ("httpx", "pydantic", "prefect/__init__", "sqlalchemy/__init__")
FOLDERS = ("flows", "tasks", "infrastructure")


@cache
def module_names() -> tuple[str, ...]:
    """Every module of Python's own but those that Python loads before any program: no program survives these."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", "import sys; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    known = sys.stdlib_module_names - set(loaded.stdout.split())
    return tuple(name for name in sorted(known) if name != "__main__" and find_spec(name))


def hostile_folder(folder: Path) -> Path:
    """Fills `folder`; a path whose modules must not be imported is its `path`."""
    modules = [f"path/{module}" for module in (*module_names(), *LIBRARIES)]
    for name in [*modules, *(f"{name}/__init__" for name in FOLDERS), "prefect"]:
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"raise SystemExit('{name} of the hostile folder was imported')\n")
    (folder / "prefect.toml").write_text("this is = not [toml")
    (folder / "pyproject.toml").write_text('[tool.prefect]\napi = {url = "http://127.0.0.1:9/api"}\nbroken =\n')
    (folder / ".env").write_bytes(b"PREFECT_API_URL=http://127.0.0.1:9/api\nPREFECT_HOME=/none\n\xff\xfe=1\n")
    return folder


def hostile_environment(folder: Path) -> dict[str, str]:
    """The variables. A database of the user's would be made at `folder / "users.db"`."""
    database = f"sqlite+aiosqlite:///{folder / 'users.db'}"
    return {
        "http_proxy": "http://user:secret@127.0.0.1:9",
        "HTTP_PROXY": NOBODY,
        "https_proxy": NOBODY,
        "HTTPS_PROXY": "socks4://127.0.0.1:9",
        "all_proxy": "socks5://127.0.0.1:9",
        "ALL_PROXY": "socks://garbage",
        "ws_proxy": NOBODY,
        "WSS_PROXY": "garbage://",
        "socks_proxy": NOBODY,
        "no_proxy": "::1/128,[fe80::1],ü.example,10.0.0.0/8",
        "NO_PROXY": "corp.example",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_API_AUTH_STRING": "a:b",
        "PREFECT_API_AUTH_STRING": "c:d",
        "PREFECT_API_KEY": "key",
        "PREFECT_SERVER_API_BASE_PATH": "/elsewhere",
        "PREFECT_SERVER_API_PORT": "port",
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_PROFILES_PATH": str(folder / "none.toml"),
        "PREFECT_PROFILE": "mine",
        "PREFECT_TEST_MODE": "1",
        "PREFECT_DEBUG_MODE": "maybe",
        "PREFECT_LOGGING_LEVEL": "garbage",
        "PREFECT_LOGGING_SETTINGS_PATH": str(folder / "none.yml"),
        "PREFECT_CLIENT_CUSTOM_HEADERS": "garbage",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "perhaps",
        "PREFECT_MESSAGING_BROKER": "none.such",
        "PREFECT_UI_SERVE_BASE": "/x",
        "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "0",
        "PREFECT_PLUGINS_ENABLED": "1",
        "prefect_api_url": f"{NOBODY}/api",
        "PYTHONPATH": f"{folder / 'path'}:{folder}",
        "PYTHONSTARTUP": str(folder / "path" / "typing.py"),
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
        "PYTHONHASHSEED": "0",
        "PYTHONMALLOC": "debug",
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONDEVMODE": "1",
        "LC_ALL": "POSIX",
        "LANG": "xx_YY",
        "SQLALCHEMY_WARN_20": "1",
        "OTEL_PROPAGATORS": "garbage",
        "OTEL_PYTHON_CONTEXT": "garbage",
        "OTEL_TRACES_EXPORTER": "garbage",
        "OTEL_SDK_DISABLED": "perhaps",
        "UVICORN_PORT": "1",
        "WEB_CONCURRENCY": "4",
        "HTTPX_LOG_LEVEL": "trace",
        "REQUEST_METHOD": "GET",
        "DATABASE_URL": database,
    }
