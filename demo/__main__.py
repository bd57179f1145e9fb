"""``python -m demo run``: a job from beginning to end, checked. ``python -m demo ui``: the same stage, left running."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from demo.audit import audit, client, download
from demo.lake import Lake
from demo.processes import DemoFailed
from demo.screen import Screen
from demo.stage import Stage, stage

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT = Path(__file__).resolve().parent.parent
_DAG, _GROUP, _RUN = "tag_cold_objects", "tag_cold", "demo"
_PATIENCE = 600.0
"""Seconds that a run may take."""


def main() -> int:
    """Do what the command line asks; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo")
    parser.add_argument("what", choices=("run", "ui"))
    parser.add_argument(
        "--objects", type=int, default=Lake().size, help="how many objects the lake holds (1,000 or more)"
    )
    asked = parser.parse_args()
    screen = Screen(sys.stdout)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell's background job ignores the first
        signal.signal(number, _interrupted)
    try:
        return run(screen, Lake(asked.objects)) if asked.what == "run" else ui(screen, Lake(asked.objects))
    except DemoFailed as failed:
        screen.check(str(failed), good=False)
        return 1
    except KeyboardInterrupt:
        screen.step("stopped; all processes have ended")
        return 0 if asked.what == "ui" else 130


def run(screen: Screen, lake: Lake) -> int:
    """Run the example DAG once and audit what came of it; 0 if all is right."""
    home = _home()
    screen.heading("Starting (all on 127.0.0.1, all ends with the demo)")
    with stage(home, lake=lake, dags=_ROOT / "dags", tell=screen.step) as running:
        airflow = running.airflow
        airflow.unpause(_DAG)
        screen.heading(f"Running dags/{_DAG}.py")
        airflow.trigger(_DAG, _RUN)
        state = airflow.wait(f"the run of {_DAG}", lambda: _followed(screen, running), _PATIENCE)
        screen.step(f"the run has ended: {state}")
        if state != "success":
            raise DemoFailed(f"the run has failed; its logs are in {home / 'logs'}")
        screen.lines(_table(airflow.log(_DAG, _RUN, f"{_GROUP}.report")))

        screen.heading("Checking the totals against the server")
        summary, s3 = airflow.xcom(_DAG, _RUN, f"{_GROUP}.report"), client(running.s3_url)
        download(s3, summary["report_uri"], home / "report")
        checks = list(audit(s3, lake.cold(), {"tier": "cold", "run": _RUN}, summary))
        for check in checks:
            screen.check(check.what, good=check.good)
    screen.heading("Where to look")
    screen.lines(
        [
            f"{home / 'report'}  the job's folder, as it was in S3: manifest.json, results/",
            f"{home / 'logs'}  Airflow's",
        ]
    )
    screen.lines(["make ui  the same Airflow, to look around in"])
    return 0 if all(check.good for check in checks) else 1


def ui(screen: Screen, lake: Lake) -> int:
    """Leave Airflow and the S3 server running until Ctrl-C."""
    screen.heading("Starting (all on 127.0.0.1)")
    with stage(_home(), lake=lake, dags=_ROOT / "dags", tell=screen.step) as running:
        airflow = running.airflow
        airflow.unpause_all((_ROOT / "dags").glob("*.py"))
        screen.heading("Ready")
        screen.lines(
            [
                f"Airflow   {airflow.url}   user {airflow.user}, password {airflow.password}",
                f"S3        {running.s3_url}   any credentials; buckets {', '.join(lake.buckets)}",
                "Trigger one of the DAGs tagged s3batch, tag_cold_objects for a start. Ctrl-C ends everything.",
            ]
        )
        while True:
            airflow.check()
            threading.Event().wait(1.0)


def _followed(screen: Screen, running: Stage) -> str | None:
    """Show how far the run is; its state once it has ended."""
    airflow = running.airflow
    tasks = airflow.tasks(_DAG, _RUN)
    states = {
        name: [task["state"] for task in tasks if task["task_id"] == f"{_GROUP}.{name}"]
        for name in ("prepare", "run", "report")
    }
    told = "   ".join(f"{name}: {_counted(found)}" for name, found in states.items())
    screen.live([told, *_progress(airflow.home / "logs" / f"dag_id={_DAG}" / f"run_id={_RUN}")])
    state = airflow.state(_DAG, _RUN)
    return state if state in {"success", "failed"} else None


def _counted(states: Iterable[str | None]) -> str:
    counts = Counter(state or "waiting" for state in states)
    return ", ".join(f"{count} {state}" if counts.total() > 1 else state for state, count in counts.items())


def _progress(logs: Path) -> list[str]:
    """The last line of progress in the log of each mapped task."""
    found = []
    for path in sorted(logs.glob(f"task_id={_GROUP}.run/map_index=*/attempt=*.log")):
        events = [_event(line) for line in path.read_text(errors="replace").splitlines()]
        last = [event for event in events if " objects (" in event or " succeeded, " in event][-1:]
        found += [f"{path.parent.name:<13}{event}" for event in last]
    return found


def _event(line: str) -> str:
    try:
        record: Any = json.loads(line)
    except ValueError:  # the last line may be half written
        return ""
    return str(record.get("event", ""))


def _table(log: list[str]) -> list[str]:
    """The summary's table in the log of the task ``report``."""
    rules = [number for number, line in enumerate(log) if line.startswith("──")]
    return log[rules[0] : rules[-1] + 1] if rules else log


def _home() -> Path:
    """A new folder; the last ones stay to be looked at until ``make clean``."""
    parent = _ROOT / ".demo"
    parent.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=parent))


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
