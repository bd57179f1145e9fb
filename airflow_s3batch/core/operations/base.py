"""`Operation`: what is done to every object. One small class each; `operations/__init__.py` joins them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from airflow_s3batch.core.values import Value

__all__ = ["Operation", "with_version"]


def with_version(parameters: dict[str, Any], version: str | None) -> dict[str, Any]:
    """The parameters about this version of the object, or about the current one."""
    return parameters if version is None else {**parameters, "VersionId": version}


class Operation(Value):
    """What is done to every object of the manifest.

    A subclass says which S3 API call an object becomes. The engine asks once a bucket, with placeholders for key and
    version, lets botocore compile the answer, and fills in keys from then on: `request` must not look into them.
    """

    if TYPE_CHECKING:  # pydantic gives every subclass an __init__ of its own fields, for a type checker

        def __init__(self, **fields: Any) -> None: ...

    aws_name: ClassVar[str]
    """The operation's member of AWS's JobOperation: ``S3PutObjectTagging``."""
    error_in_body: ClassVar[bool] = False
    """Whether a 200 answer can hold an ``<Error>`` body, so that bodies must be looked at (CopyObject)."""
    entries_per_request: ClassVar[int] = 1
    """How many entries one request carries."""

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """The S3 API action and its parameters (as boto3 takes them) for one object."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """The operation's parameters in the words of its AWS structure (``{"TagSet": [...]}``)."""
        raise NotImplementedError

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build the operation from `arguments`' JSON, as strictly as its constructor.

        Raises:
            InvalidInput: a parameter is unknown, missing or out of AWS's limits.
        """
        raise NotImplementedError

    def to_aws(self) -> dict[str, Any]:
        """AWS's JobOperation: ``{"S3PutObjectTagging": {...}}``."""
        return {self.aws_name: self.arguments()}
