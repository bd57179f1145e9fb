"""A function of the author's as the operation of a job: `PythonFunction`, and the objects that it is given."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, S3Error, Stopped, printable
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.operations.base import StepsOperation, with_version
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import known_arguments

__all__ = ["AsyncS3Object", "PythonFunction", "S3Object"]

log = logging.getLogger(__name__)

_MESSAGE_MOST = 1_000
_AT_ONCE = 10_000
_LOOK_EVERY = 1.0
"""Seconds after which a thread that waits for an answer looks whether there is still somebody to give it."""


class _Named:
    """What a function learns of its object."""

    def __init__(self, entry: Entry, s3: S3Calls) -> None:
        self._entry = entry
        self._s3 = s3

    @property
    def bucket(self) -> str:
        """Its bucket."""
        return self._entry.bucket

    @property
    def key(self) -> str:
        """Its key, decoded."""
        return self._entry.key

    @property
    def version(self) -> str | None:
        """The version ID that the manifest names, if it names one."""
        return self._entry.version

    @property
    def uri(self) -> str:
        """``s3://bucket/key``."""
        return S3Location(self.bucket, self.key).uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({printable(self.uri)})"

    def _call(self, action: str, parameters: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        elsewhere = {"Bucket", "Key"} & parameters.keys()
        about = with_version({"Bucket": self.bucket, "Key": self.key}, None if elsewhere else self.version)
        given = {name: value for name, value in (about | parameters).items() if value is not None}
        return self._s3.call(action, **given)


class S3Object(_Named):
    """One object of the manifest, as a plain function gets it: ``bucket``, ``key``, ``version``, ``uri``.

    Its calls go the job's way: with the connection's identity, within the job's limits, retried. They block the
    function's thread until the answer is there.
    """

    def __init__(self, entry: Entry, s3: S3Calls, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(entry, s3)
        self._loop = loop

    def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an S3 action (``"GetObjectTagging"``) about the object; return boto3's answer, ``Body`` as bytes.

        ``Bucket``, ``Key`` and, where the manifest names one, ``VersionId`` are the object's. Another Bucket or Key is
        about another object, without a version; None leaves a parameter out (``PutObject`` takes no VersionId).

        Raises:
            S3Error: S3 refused it, or doesn't answer.
            InvalidInput: a parameter isn't what botocore's model says.
            Stopped: the run ended while the function went on.
        """
        asked = self._call(action, parameters)
        if not self._loop.is_closed():
            answer = asyncio.run_coroutine_threadsafe(asked, self._loop)
            while not wait([answer], _LOOK_EVERY).done and not self._loop.is_closed():
                pass
            if answer.done():
                return answer.result()
        asked.close()
        raise Stopped(f"{action} {printable(self.uri)}: the run has ended")

    def read(self) -> bytes:
        """All its bytes, which are in memory then."""
        body: bytes = self.call("GetObject")["Body"]
        return body


class AsyncS3Object(_Named):
    """One object of the manifest, as an ``async def`` function gets it; see `S3Object`. Its calls are awaited."""

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an S3 action about the object; see `S3Object.call`."""
        return await self._call(action, parameters)

    async def read(self) -> bytes:
        """All its bytes, which are in memory then."""
        body: bytes = (await self.call("GetObject"))["Body"]
        return body


class _Bound:
    """The function of one run, and where it runs."""

    def __init__(self, call: Callable[[Any], Any], threads: int) -> None:
        self._call = call
        self._threads: ThreadPoolExecutor | None = None
        self.at_once = _AT_ONCE
        if not inspect.iscoroutinefunction(call):
            self._threads = ThreadPoolExecutor(threads, thread_name_prefix="s3_batch")
            self.at_once = threads
        self._told: set[type[BaseException]] = set()

    async def called(self, entry: Entry, s3: S3Calls) -> Any:
        """What the function returns for this object."""
        if self._threads is None:
            return await self._call(AsyncS3Object(entry, s3))
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        return await loop.run_in_executor(self._threads, context.run, self._call, S3Object(entry, s3, loop))

    def tell(self, what: str, error: BaseException) -> None:
        """Show the author where the first error of a kind came from: the report has no room for that."""
        if type(error) not in self._told:
            self._told.add(type(error))
            log.warning("%s; further errors of this kind are only in the report", what, exc_info=error)

    def close(self) -> None:
        """Begin no more calls; those that run can't be interrupted."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


class PythonFunction(StepsOperation):
    """Call a function with every object. The job knows its name; the task that runs it brings the function itself.

    Args:
        function: ``module.name``, for people.

    Raises:
        InvalidInput: (when built) a field is wrong.
    """

    aws_name: ClassVar[str] = "S3BatchPython"

    function: Annotated[str, Field(min_length=1, max_length=1024)]

    _bound: _Bound | None = PrivateAttr(default=None)

    def __init__(self, function: str) -> None:
        super().__init__(function=function)

    @contextmanager
    def bound(self, call: Callable[[Any], Any], threads: int) -> Iterator[Self]:
        """Give this operation with the function to call, for as long as the context lasts.

        Args:
            call: gets an `S3Object` or, if it is an ``async def``, an `AsyncS3Object`; returns the row's message or
                None. What it raises fails the row.
            threads: how many calls of a plain function run at once. An ``async def`` runs as often as
                `Limits.in_flight` allows.
        """
        bound = self.model_copy()
        bound._bound = _Bound(call, threads)  # noqa: SLF001 - of its own class
        try:
            yield bound
        finally:
            bound._bound.close()  # noqa: SLF001

    @property
    def most_at_once(self) -> int:  # type: ignore[override] # of this instance
        """As many as there are threads, so that none waits for one when the run is stopped."""
        return _AT_ONCE if self._bound is None else self._bound.at_once

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG002
        """None that are known: what the function calls is its affair."""
        return []

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Call the function; its return value is the message, and what it raises the failure."""
        bound = self._bound
        if bound is None:
            raise InvalidInput(f"{self.function} runs only in the tasks that @task.s3_batch makes of it")
        try:
            message = await bound.called(entry, s3)
        except (S3Error, ObjectFailed):
            raise
        except (Exception, SystemExit) as error:
            bound.tell(f"{self.function} failed for {printable(S3Location(entry.bucket, entry.key).uri)}", error)
            raise ObjectFailed(type(error).__name__, printable(error, _MESSAGE_MOST)) from error
        if message is None:
            return ""
        if isinstance(message, str):
            return message
        raise ObjectFailed("TypeError", f"{self.function} returned {type(message).__name__}, not a text or None")

    def arguments(self) -> dict[str, Any]:
        """The function's name."""
        return {"Function": self.function}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from `arguments`' JSON."""
        known_arguments(cls.__name__, arguments, {"Function"})
        return cls(arguments.get("Function", ""))
