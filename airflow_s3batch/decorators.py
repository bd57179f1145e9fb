"""`@task.s3_batch`: a function of the author's as the operation of a whole job."""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, Any, ClassVar

# What TaskFlow calls can be given; it has no public name.
from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.operations import PythonFunction
from airflow_s3batch.operators import S3BatchJobOperator
from airflow_s3batch.task_group import S3BatchJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from airflow_s3batch.core.engine import S3Access
    from airflow_s3batch.core.job import Job

__all__ = ["S3BatchPythonJob", "S3BatchPythonOperator", "s3_batch_task"]

_THREADS = 32
_SHOWN = 80
_LAMBDA = "<lambda>"
_OF_A_FUNCTION = {"operation", "job_id"}
"""Parameters of a job that the function stands for."""
# How Airflow names the module that it makes of a DAG file.
_MADE_UP = re.compile(r"unusual_prefix_[0-9a-f]+_")


class S3BatchPythonOperator(S3BatchJobOperator):
    """Call a function with every object of a partition; `@task.s3_batch` makes these.

    Args:
        python_callable: the function, plain or ``async def``: ``function(obj, **op_kwargs)``.
        op_kwargs: its other arguments (templated).
        threads: how many calls of a plain function run at once.
        partition: as for `S3BatchJobOperator`, with all it takes.
    """

    template_fields: Sequence[str] = (*S3BatchJobOperator.template_fields, "op_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **S3BatchJobOperator.template_fields_renderers,
        "op_kwargs": "py",
    }
    shallow_copy_attrs: Sequence[str] = ("python_callable",)
    custom_operator_name = "@task.s3_batch"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_kwargs: Mapping[str, Any] | None = None,
        threads: int = _THREADS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.python_callable = python_callable
        self.op_kwargs = dict(op_kwargs or {})
        self.threads = threads
        self._of_context: dict[str, Any] = {}

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the summary of the partition."""
        _, *others = inspect.signature(self.python_callable).parameters
        self._of_context = {name: context[name] for name in others if name in context}  # type: ignore[literal-required]
        return super().execute(context)

    def run_one(self, access: S3Access, job: Job, number: int) -> dict[str, Any]:
        """Run a partition with the function."""
        operation = job.spec.operation
        if not isinstance(operation, PythonFunction):
            raise InvalidInput(f"job {job.job_id} is about {operation.aws_name}; run it by S3BatchJobOperator")
        call = functools.partial(self.python_callable, **{**self._of_context, **self.op_kwargs})
        with operation.bound(call, self.threads) as bound:
            spec = job.spec.model_copy(update={"operation": bound})
            return super().run_one(access, job.model_copy(update={"spec": spec}), number)


class S3BatchPythonJob(S3BatchJob, ResolveMixin):
    """The task group that a call of a decorated function gives; as an argument of another, it is the job's summary.

    Args:
        group_id: the group's id.
        python_callable: the function.
        op_kwargs: as for `S3BatchPythonOperator`.
        threads: likewise.
        job: what else `S3BatchJob` takes.
    """

    _written: ClassVar[str] = "@task.s3_batch"

    def __init__(
        self,
        group_id: str,
        *,
        python_callable: Callable[..., Any],
        op_kwargs: Mapping[str, Any],
        threads: int = _THREADS,
        **job: Any,
    ) -> None:
        self._call = {"python_callable": python_callable, "op_kwargs": op_kwargs, "threads": threads}
        super().__init__(group_id, operation=PythonFunction(_name(python_callable)), **job)

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in super()._parameters() if name not in _OF_A_FUNCTION] + ["threads"]

    def _partial_run(self, **options: Any) -> OperatorPartial:
        return S3BatchPythonOperator.partial(**self._call, **options)

    def iter_references(self) -> Iterator[tuple[Any, str]]:
        """The XCom of the summary."""
        return self.output.iter_references()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """The summary."""
        return self.output.resolve(context)

    def __str__(self) -> str:
        return str(self.output)

    def __repr__(self) -> str:  # the same at every parse: Airflow 3.1 stores it in the serialized DAG
        return f"{type(self).__name__}({self.group_id!r})"


class S3BatchFunction:
    """A decorated function: called in a DAG, it makes the job.

    Its arguments, but for the first, are the call's: values, templates and XComs.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        _check(function)
        functools.update_wrapper(self, function)
        self.function = function
        """The function itself, for tests."""
        self._options = options

    def __call__(self, *args: Any, **kwargs: Any) -> S3BatchPythonJob:
        if self.function.__name__ == _LAMBDA and "group_id" not in self._options:
            raise InvalidInput(
                "@task.s3_batch: a lambda has no name for the job's group; give group_id, or write a def"
            )
        return S3BatchPythonJob(
            **{"group_id": self.function.__name__, **self._options},
            python_callable=self.function,
            op_kwargs=self._named(args, kwargs),
            add_suffix_on_collision=True,
            tooltip=inspect.getdoc(self.function) or "",
        )

    def override(self, **options: Any) -> S3BatchFunction:
        """The same function with other options (``group_id``, ``report``, …)."""
        return S3BatchFunction(self.function, {**self._options, **options})

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by their names, without the object."""
        signature = inspect.signature(self.function)
        try:
            given = list(signature.bind(None, *args, **kwargs).arguments.items())[1:]
        except TypeError as error:
            raise TypeError(f"{self.function.__name__}, called without its object: {error}") from None
        named: dict[str, Any] = {}
        for name, value in given:
            kind = signature.parameters[name].kind
            if kind in {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL}:
                raise TypeError(f"{self.function.__name__}: {name} has no name to be given by; the object alone may")
            named |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
        return named


def s3_batch_task(python_callable: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a function the operation of a whole job: ``@task.s3_batch(manifest=…, report=…)``.

    The function gets every object of the manifest, an `S3Object` (an ``async def`` function an `AsyncS3Object`), in
    the job's mapped tasks. What it returns, a text or None, is the message of the object's row in the report; an
    exception fails the row. A call of it gives a task group, which is also the job's summary.

    Args:
        python_callable: the function.
        options: ``manifest`` and ``report``, and what else `s3_batch_job` takes besides an operation; ``group_id``,
            by default the function's name; ``threads``, how many calls of a plain function run at once in a task.

    Raises:
        TypeError: manifest or report is missing, or an operation is given.
        InvalidInput: it is no function that could be called with an object, or there is no such number of threads.
    """
    if missing := [name for name in ("manifest", "report") if name not in options]:
        raise TypeError(f"@task.s3_batch needs {' and '.join(missing)}: @task.s3_batch(manifest=…, report=…)")
    if _OF_A_FUNCTION & options.keys():
        raise TypeError("@task.s3_batch: the function is the operation, of a new job: leave out operation and job_id")
    options.pop("multiple_outputs", None)
    threads = options.get("threads", _THREADS)
    if not isinstance(threads, int) or threads < 1:
        raise InvalidInput(f"threads={printable(repr(threads))}; it takes one or more")
    if python_callable is not None:
        return S3BatchFunction(python_callable, options)
    return lambda function: S3BatchFunction(function, options)


def _check(function: Callable[..., Any]) -> None:
    """See that it is a function, known by its name, that returns what it finds.

    Raises:
        InvalidInput: it isn't; says what to write.
    """
    if inspect.isclass(function) or not hasattr(function, "__qualname__"):
        wrong = f"@task.s3_batch: {printable(repr(function), _SHOWN)} is no function"
        raise InvalidInput(f"{wrong}; write one that calls it: def check(obj): …")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        wrong = f"@task.s3_batch: {function.__name__} has a yield, and gives a generator instead of the row's message"
        raise InvalidInput(f"{wrong}; return a text or None")


def _name(function: Callable[..., Any]) -> str:
    """``dag_file.function``, the same wherever and however often Airflow loads the DAG file."""
    return _MADE_UP.sub("", f"{function.__module__}.{function.__qualname__}")
