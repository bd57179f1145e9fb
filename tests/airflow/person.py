"""A person who answers what a DAG run asks, in Airflow's own approval."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import TaskInstanceState

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Person", "answering", "from_airflow_3_3"]

from_airflow_3_3 = pytest.mark.skipif(
    not hasattr(TaskInstanceState, "AWAITING_INPUT"), reason="dag.test() can't wait for a person before Airflow 3.3"
)


class Person(threading.Thread):
    """Waits until a DAG asks, takes down what it says, and gives an answer, as Airflow's API does."""

    def __init__(self, dag_id: str, choice: str) -> None:
        super().__init__(daemon=True)
        self.dag_id = dag_id
        self.choice = choice
        self.subject = ""
        self.body = ""
        self.done = threading.Event()

    def run(self) -> None:
        # More than once: dag.test() itself may write the state that it saw last over what the answer has made of it.
        while not self.done.wait(0.5):
            self._answer()

    def _answer(self) -> None:
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.trigger import handle_event_submit
        from airflow.triggers.base import TriggerEvent
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            of_dag = select(HITLDetail).join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
            asked: Any = session.scalar(of_dag.where(TaskInstance.dag_id == self.dag_id))
            waiting = asked and session.get(TaskInstance, asked.ti_id)
            if waiting is None or waiting.state != TaskInstanceState.AWAITING_INPUT:
                return
            self.subject, self.body = asked.subject, asked.body
            asked.chosen_options = [self.choice]
            asked.params_input = {}
            asked.responded_at = datetime.now(timezone.utc)
            asked.responded_by = {"id": "ada", "name": "ada"}
            event = TriggerEvent(asked.as_resume_event_payload())
            handle_event_submit(event, task_instance=waiting, session=session)


@contextmanager
def answering(dag_id: str, choice: str) -> Iterator[Person]:
    person = Person(dag_id, choice)
    person.start()
    try:
        yield person
    finally:
        person.done.set()
        person.join(10)
