"""`Shapes`: calls that differ in keys, versions, ranges, prefixes, what they put are alike, and compiled once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_s3batch.core.engine.compile import Compiler
from airflow_s3batch.core.engine.compiled import BLANKS, KEY, VERSION, Fills
from airflow_s3batch.core.engine.route import Route
from airflow_s3batch.core.operations.base import TARGET

__all__ = ["Shapes"]

_SHAPES_MOST = 256
"""Shapes of calls that are kept compiled …"""
_SHAPE_MOST = 4_000
"""… if they have at most so many characters: what is longer is hardly sent twice."""
# Actions whose 200 can hold an <Error>: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
_ERROR_IN_BODY = frozenset({"CopyObject", "UploadPartCopy", "CompleteMultipartUpload"})
_ANY = re.compile(r"(?s).+")


class Shapes:
    """The routes of calls, by their shapes.

    Args:
        compiler: compiles the first call of a shape.
        regions: where buckets are known to be, by their names; looked at anew.
    """

    def __init__(self, compiler: Compiler, regions: Mapping[str, str]) -> None:
        self._compiler = compiler
        self._regions = regions
        self._routes: dict[str, Route] = {}

    def find(self, action: str, parameters: dict[str, Any]) -> tuple[Route, Fills]:
        """The route of a call, and what is this call's own.

        Raises:
            InvalidInput: botocore can't compile it.
        """
        # Another service may write into a body what S3 has in its headers and queries.
        shape, fills = _shape(parameters) if ":" not in action else (parameters, Fills())
        body = shape.get("Body")
        if action != "PutObject" or not isinstance(body, bytes) or "ChecksumAlgorithm" in shape:
            return self._route(action, shape), fills
        # What is put is the one thing that differs, and nothing else in the request follows from it.
        empty = self._route(action, {**shape, "Body": b""})
        return empty.carrying(lambda compiled: replace(compiled, body=body)), fills

    def _route(self, action: str, shape: dict[str, Any]) -> Route:
        name = "" if shape.get("Body") or "Payload" in shape else f"{action} {shape!r}"
        route = self._routes.get(name)
        if route is None:
            bucket = shape.get("Bucket", "")
            route = Route(
                bucket,
                lambda region: self._compiler.compile(action, shape, region),
                self._regions.get(bucket),
                error_in_body=action in _ERROR_IN_BODY,
            )
        if 0 < len(name) <= _SHAPE_MOST:
            self._routes.pop(name, None)  # so that the one used last is the last to go
            self._routes[name] = route
            if len(self._routes) > _SHAPES_MOST:
                del self._routes[next(iter(self._routes))]
        return route


def _shape(parameters: dict[str, Any]) -> tuple[dict[str, Any], Fills]:
    """The parameters with placeholders, so that calls about many objects are alike; and what these stand for."""
    shape, source = dict(parameters), parameters.get("CopySource")
    values = {}
    for name in parameters:
        blank = BLANKS.get(name)
        if blank is not None and (value := _taken(shape, name, blank.placeholder, blank.fitting)):
            values[blank.placeholder] = value
    if not isinstance(source, dict):
        return shape, Fills(_taken(shape, "Key", KEY), _taken(shape, "VersionId", VERSION), "", values)
    shape["CopySource"] = source = dict(source)
    key, version = _taken(source, "Key", KEY), _taken(source, "VersionId", VERSION)
    return shape, Fills(key, version, _taken(shape, "Key", TARGET), values)


def _taken(parameters: dict[str, Any], name: str, placeholder: str, fitting: re.Pattern[str] = _ANY) -> str:
    value = parameters.get(name)
    # An empty one is for botocore to refuse: behind a placeholder it would be a request about the bucket.
    if not isinstance(value, str) or not fitting.fullmatch(value):
        return ""
    parameters[name] = placeholder
    return value
