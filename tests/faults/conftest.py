"""The server that records, and how much is killed."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

from demo.airflow import Airflow
from demo.stage import connection
from tests.faults import page
from tests.faults.campaign import Campaign, Measured
from tests.faults.jobs import DAGS
from tests.faults.recording_s3 import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "14",  # more than there are tasks: a killed worker's slot is lost
    # How long Airflow takes to notice what was killed; its defaults are minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
}


_ON_AIRFLOW = {"test_cleared_jobs.py", "test_killed_airflow.py", "test_stopped_jobs.py"}
"""What runs on the one Airflow, one after the other; what needs none, may run beside it."""
_LATENCY = 0.03
_CAMPAIGN = pytest.StashKey[Campaign]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--seed", type=int, default=1, help="of the moments at which processes are killed; 0 for any (1)")
    group.addoption("--times", type=float, default=1, help="kill so many times as many processes (1)")
    group.addoption(
        "--page", action="store_true", help="if all is well, write what was measured to docs/reliability.md"
    )


def pytest_configure(config: pytest.Config) -> None:
    times = config.getoption("--times", default=1)
    of_all = getattr(config, "workerinput", {})  # of a process that pytest-xdist has started
    seed = of_all.get("seed") or config.getoption("--seed", default=1) or random.SystemRandom().randrange(1, 10**6)
    config.stash[_CAMPAIGN] = Campaign(seed, partition_kills=round(240 * times), airflow_kills=round(50 * times))


class _OneAirflow(LoadFileScheduling):  # type: ignore[misc] # pytest-xdist's groups, by marks, do nothing in pytest 9.2
    """Gives a file to the next process that is free, but all that need the Airflow to one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "airflow" if Path(file).name in _ON_AIRFLOW else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneAirflow:
    return _OneAirflow(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["seed"] = node.config.stash[_CAMPAIGN].seed


def pytest_sessionfinish(session: pytest.Session) -> None:
    told = getattr(session.config, "workeroutput", {})
    told["measured"] = [asdict(measured) for measured in session.config.stash[_CAMPAIGN].results]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    found = getattr(node, "workeroutput", {}).get("measured", ())  # a process that crashed has put out nothing
    node.config.stash[_CAMPAIGN].results.extend(Measured(**measured) for measured in found)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    campaign = config.stash[_CAMPAIGN]
    for result in campaign.results:
        terminalreporter.write_line(f"faults, --seed={campaign.seed}: {result.line()}")
    # What it says is true of a run without a finding only.
    if config.getoption("--page", default=False) and campaign.results and exitstatus == pytest.ExitCode.OK:
        page.keep(campaign)
        page.PAGE.write_text(page.rendered())


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest) -> Campaign:
    return request.config.stash[_CAMPAIGN]


@pytest.fixture(scope="session")
def record() -> Iterator[Record]:
    command = [sys.executable, "-m", "tests.faults.recording_s3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None:
            raise RuntimeError("the server has no standard output")
        yield Record(server.stdout.readline().strip())
        server.communicate()


@pytest.fixture(scope="session")
def airflow(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    record.set_latency(_LATENCY)
    home, dags = tmp_path_factory.mktemp("airflow"), Path(__file__).parent / "dags"
    connections = {"aws_default": connection(record.url)}
    with Airflow(home, dags=dags, connections=connections, settings=_SETTINGS) as running:
        for dag in DAGS:
            running.unpause(dag)
        yield running
