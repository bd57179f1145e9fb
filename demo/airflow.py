"""`Airflow`: a real one in a folder of its own, with SQLite, LocalExecutor and free ports, driven over its REST API."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from typing_extensions import Self

from demo.processes import DemoFailed, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

__all__ = ["Airflow"]

_BOOT = 400.0
"""Seconds until everything must be healthy; 20 to 40 on two cores."""
_RUN = 900.0
"""Seconds until a run must have ended; most take half a minute on two cores."""
_PARALLELISM = 4  # SQLite locks up with many more
_COMPONENTS = ("scheduler", "dag-processor", "triggerer", "api-server")


class Airflow:
    """An Airflow that lives as long as the ``with`` block: scheduler, DAG processor, triggerer, API server.

    Args:
        home: an empty folder for its database, configuration and logs.
        dags: the folder of DAG files.
        connections: Airflow connections by id, as their JSON.
        settings: more of its configuration, as environment variables (``AIRFLOW__SECTION__KEY``).
    """

    user = "admin"

    def __init__(
        self,
        home: Path,
        *,
        dags: Path,
        connections: Mapping[str, Mapping[str, Any]],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        port = _free_port()
        self.home = home
        self.password = "admin"  # noqa: S105 - it listens on loopback only
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {**_environment(home, dags, self.url, connections), **(settings or {})}
        self._processes = Processes(home / "logs" / "components")
        self._port = port
        self._client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._processes.end()

    def command(self, *arguments: str) -> str:
        """What ``airflow <arguments>`` prints here.

        Raises:
            DemoFailed: it failed.
        """
        done = subprocess.run(  # noqa: S603 - our own commands
            _airflow(*arguments), env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DemoFailed(f"airflow {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def check(self) -> None:
        """Whether all of it is running.

        Raises:
            DemoFailed: a component has ended.
        """
        self._processes.check()

    @property
    def processes(self) -> Processes:
        """Its programs, to be ended by force; `start` starts them again."""
        return self._processes

    def start(self, *components: str) -> None:
        """Start components, all of them if none is named, and wait until all of it is healthy."""
        for component in components or _COMPONENTS:
            self._processes.start(component, _airflow(component, *self._options(component)), self._environment)
        self.wait("starting Airflow", self._healthy, _BOOT)

    def lose_database(self) -> None:
        """Begin with a new metadata database; nothing of it may be running."""
        for path in self.home.glob("airflow.db*"):
            path.unlink()
        self.command("db", "migrate")

    def get(self, path: str, **query: Any) -> Any:
        """The answer of a GET at ``/api/v2``."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, **content: Any) -> Any:
        """The answer of a POST of JSON at ``/api/v2``."""
        return self._ask("POST", path, json=content)

    def ended(self, dag_id: str, run_id: str, seconds: float = _RUN) -> str:
        """Wait until the run has ended; return its state, success or failed.

        Raises:
            DemoFailed: it hasn't in so many seconds, or a component ended.
        """

        def state() -> str | None:
            found = self.state(dag_id, run_id)
            return found if found in {"success", "failed"} else None

        return str(self.wait(f"the run {run_id} of {dag_id}", state, seconds))

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int) -> None:
        """Mark a mapped task as a person does in the UI: ``failed`` or ``success``."""
        task = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}"
        self._ask("PATCH", task, json={"new_state": state})

    def answer(self, dag_id: str, run_id: str, task_id: str, choice: str) -> None:
        """Answer a task that waits for a person."""
        place = f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        self._ask("PATCH", place, json={"chosen_options": [choice]})

    def wait(self, what: str, ready: Callable[[], Any], seconds: float) -> Any:
        """The first true answer of `ready`, asked twice a second.

        Raises:
            DemoFailed: there was none in time, or a component ended.
        """
        give_up = time.monotonic() + seconds
        while True:
            self.check()
            if found := ready():
                return found
            if time.monotonic() > give_up:
                raise DemoFailed(f"{what} took longer than {seconds:.0f} s; Airflow's logs are in {self.home / 'logs'}")
            time.sleep(0.5)

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs start, once Airflow has parsed it.

        Raises:
            DemoFailed: a DAG file can't be imported, or the DAG doesn't appear.
        """
        self.wait(f"parsing {dag_id}", lambda: self._parsed(dag_id), _BOOT)
        self._ask("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def unpause_all(self, files: Iterable[Path]) -> None:
        """Let the runs of all DAGs in these files start, once Airflow has parsed them.

        Raises:
            DemoFailed: a DAG file can't be imported, or its DAGs don't appear.
        """
        names = {file.name for file in files}
        self.wait("parsing the DAGs", lambda: names <= {Path(dag["fileloc"]).name for dag in self._all_parsed()}, _BOOT)
        for dag in self._all_parsed():
            self._ask("PATCH", f"dags/{dag['dag_id']}", json={"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, **params: Any) -> None:
        """Start a run of the DAG."""
        self._ask("POST", f"dags/{dag_id}/dagRuns", json={"dag_run_id": run_id, "logical_date": None, "conf": params})
        # Airflow 3.1 answers before the run can be seen.
        self.wait(f"starting {dag_id}", lambda: self._exists(f"dags/{dag_id}/dagRuns/{quote(run_id)}"), _BOOT)

    def state(self, dag_id: str, run_id: str) -> str:
        """The run's state: queued, running, success, failed."""
        return str(self.get(f"dags/{dag_id}/dagRuns/{quote(run_id)}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances, mapped ones each."""
        return list(self.get(f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances", limit=1000)["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """A task instance's XCom, as the Python value it is."""
        place = f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.get(place, map_index=map_index, deserialize=True)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, attempt: int = 1) -> list[str]:
        """The lines of a task instance's log, as its page in the UI shows them."""
        place = f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/logs/{attempt}"
        content = self.get(place, map_index=map_index, full_content=True)["content"]
        return [line for record in content for line in _lines(record)]

    def _boot(self) -> None:
        (self.home / "passwords.json").write_text(json.dumps({self.user: self.password}))
        self.command("db", "migrate")
        self._processes.__enter__()
        self.start()
        answer = self._client.post("/auth/token", json={"username": self.user, "password": self.password})
        self._client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"

    def _options(self, component: str) -> Sequence[str]:
        if component == "api-server":
            return ("--host", "127.0.0.1", "--port", str(self._port), "--workers", "1")
        return ("--skip-serve-logs",) if component in {"scheduler", "triggerer"} else ()

    def _healthy(self) -> bool:
        try:
            parts = self._client.get("/api/v2/monitor/health").raise_for_status().json()
        except httpx.HTTPError:
            return False
        return all(part["status"] == "healthy" for part in parts.values())

    def _parsed(self, dag_id: str) -> bool:
        self._check_imports()
        return self._exists(f"dags/{dag_id}")

    def _all_parsed(self) -> list[dict[str, Any]]:
        self._check_imports()
        dags: list[dict[str, Any]] = self.get("dags")["dags"]
        return dags

    def _check_imports(self) -> None:
        if errors := self.get("importErrors")["import_errors"]:
            raise DemoFailed("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))

    def _exists(self, path: str) -> bool:
        return self._client.get(f"/api/v2/{path}").status_code == httpx.codes.OK

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        answer = self._client.request(method, f"/api/v2/{path}", **content)
        if answer.is_error:
            raise DemoFailed(f"Airflow answered {method} {path} with {answer.status_code}: {answer.text[:1000]}")
        return answer.json()


def _airflow(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *arguments]


def _lines(record: dict[str, Any]) -> list[str]:
    """A log record's event, and what its exceptions say."""
    return [record["event"], *(error["exc_value"] for error in record.get("error_detail") or ())]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _environment(home: Path, dags: Path, url: str, connections: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The caller's environment without its own Airflow and AWS, and with the settings of this one."""
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(_PARALLELISM),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{Airflow.user}:admin",
        # Who finds the database locked waits; by default for 5 s, and on a machine that is busy a scheduler dies of it.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # Proxies are for other hosts.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(content) for name, content in connections.items()},
    }
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS", "_AIRFLOW"))}
    return {**own, **settings}
