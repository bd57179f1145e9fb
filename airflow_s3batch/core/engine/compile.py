"""botocore compiles: its serializer, endpoint rules and parsers turn S3's API model into requests and back.

The only module that imports botocore. A botocore client with placeholder credentials builds each request and
is stopped before it would sign and send; signing and transport are the engine's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from copy import copy
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import unquote_plus, urlsplit

import botocore.config
import botocore.exceptions
import botocore.parsers
import botocore.session
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies, parse_timestamp

from airflow_s3batch.core.engine.access import S3Access
from airflow_s3batch.core.engine.compiled import Compiled, Origin
from airflow_s3batch.core.engine.conversation import InvalidAnswer
from airflow_s3batch.core.engine.listing import take_entries
from airflow_s3batch.core.engine.proxy import Proxy, proxy_at
from airflow_s3batch.core.errors import InvalidInput, printable

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest

__all__ = ["Compiler", "resource_of"]

# What the engine writes itself, or what would differ at every request.
_DROPPED = frozenset({"user-agent", "content-length", "host", "amz-sdk-invocation-id", "amz-sdk-request", "expect"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110's token
_UNKNOWN = re.compile(r'Unknown parameter in [^:]+: "([^"]+)", must be one of')
_THIS_BOTOCORE = f"botocore {botocore.__version__}"
_NEWER = "if AWS has it, install a newer boto3 on the workers"
_REDIRECTS = 300
_REGION = re.compile(r"(?:arn:[a-z-]+:lambda:)?([a-z]+(?:-[a-z]+)+-\d+):\d{12}:")
# What the answer's document is called, of actions whose empty answer would say that nothing is there.
_ROOTS = {
    action: re.compile(rb"<(?:[\w.-]+:)?%b[\s/>]" % root)
    for action, root in {
        "CreateMultipartUpload": b"InitiateMultipartUploadResult",
        "GetObjectAcl": b"AccessControlPolicy",
        "GetObjectTagging": b"Tagging",
        "ListObjectVersions": b"ListVersionsResult",
        "ListObjectsV2": b"ListBucketResult",
    }.items()
}
_ROOT_WITHIN = 1024
_SHAPES_MOST = 256
"""Output shapes, reduced to what answers held, that are kept."""
_NEXT = {"ListObjectsV2": "NextContinuationToken", "ListObjectVersions": "NextKeyMarker"}
_URL_ENCODED = ("Prefix", "Delimiter", "StartAfter", "Key", "KeyMarker", "NextKeyMarker")
_LISTS = ("Contents", "CommonPrefixes", "Versions", "DeleteMarkers")


class _Built(BaseException):  # no Exception, so that botocore's retries let it through
    """Carries the request out of botocore at the moment it is about to sign it."""

    def __init__(self, request: AWSRequest) -> None:
        super().__init__()
        self.request = request


def _hand_over(request: AWSRequest, **_: object) -> NoReturn:
    raise _Built(request)


class _Headers(dict[str, str]):
    """Headers by their names in any case, held in lower case: botocore's own class makes an object a look-up."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class _Service(NamedTuple):
    model: Any
    parser: Any


class _Client(NamedTuple):
    builds: Any
    proxies: ProxyConfiguration


class Compiler:
    """Builds requests for one `S3Access`, and reads the answers: S3's, and as ``lambda:Invoke`` other services'."""

    def __init__(self, access: S3Access, user_agent: str) -> None:
        self._access = access
        self._user_agent = user_agent
        self._session = botocore.session.Session()
        self._clients: dict[tuple[str, str], _Client] = {}
        self._services: dict[str, _Service] = {}

    def compile(self, action: str, parameters: dict[str, Any], region: str | None = None) -> Compiled:
        """Build the request for an action with boto3's parameters, in the access's region or another.

        Raises:
            InvalidInput: a parameter isn't what botocore's model or endpoint rules allow.
        """
        service, name = _service_of(action)
        model = self._service(service).model
        client = self._client(service, region or _region_of(parameters) or self._access.region)
        if name not in model.operation_names:
            raise InvalidInput(f"{_THIS_BOTOCORE} knows no action {printable(repr(name))} of {service}; {_NEWER}")
        method: Callable[..., Any] = getattr(client.builds, botocore.xform_name(name))
        try:
            method(**parameters)
        except _Built as built:
            return self._compiled(action, parameters, built.request, client.proxies)
        except botocore.exceptions.MissingDependencyException:  # SigV4A: botocore leaves it to awscrt
            raise _other_signatures(action, parameters, "SigV4A") from None
        except botocore.exceptions.ParamValidationError as error:
            raise InvalidInput(f"{action}: {_wrong(str(error.kwargs['report']))}") from None
        except (botocore.exceptions.BotoCoreError, ValueError, TypeError) as error:
            raise InvalidInput(f"{action}: {printable(error, 500)}") from None
        raise AssertionError(f"botocore sent {action} instead of handing it over")

    def parse(self, action: str, status: int, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
        """Read an answer as boto3 would: the action's output members, or ``Error`` from status 300 on.

        Raises:
            InvalidAnswer: it is no answer to this action: empty, cut, a portal's page.
        """
        if status < _REDIRECTS and (root := _ROOTS.get(action)) and not root.search(body, 0, _ROOT_WITHIN):
            raise InvalidAnswer(f"the answer is no {action} result, but {len(body)} bytes of something else")
        try:
            parsed = self._parsed(action, status, headers, body)
        except Exception as error:  # noqa: BLE001 - whatever botocore's parser and what it uses come to
            told = printable(error)
            raise InvalidAnswer(f"the answer to {action} can't be read: {type(error).__name__}: {told}") from None
        if parsed.get("IsTruncated") and not parsed.get(_NEXT.get(action, "IsTruncated")):
            raise InvalidAnswer(f"the answer to {action} is a part, and doesn't tell how to get the next")
        return parsed

    def _parsed(self, action: str, status: int, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
        service, name = _service_of(action)
        model, parser = self._service(service)
        operation = model.operation_model(name)
        streams = operation.has_streaming_output and status < _REDIRECTS
        taken = take_entries(action, body) if status < _REDIRECTS else None
        left = taken.rest if taken is not None else body
        named = _Headers(headers)
        answer = {"status_code": status, "headers": named, "body": b"" if streams else left}
        output = operation.output_shape
        if output is not None and status < _REDIRECTS:
            output = _reduced(output, _header_names(output).intersection(named))
        parsed: dict[str, Any] = parser.parse(answer, output)
        if streams:
            parsed[operation.output_shape.serialization["payload"]] = body
        if taken is not None:
            parsed |= taken.members
        if parsed.get("EncodingType") == "url":
            _decode_listing(parsed)
        return parsed

    def _service(self, name: str) -> _Service:
        service = self._services.get(name)
        if service is None:
            try:
                model = self._session.get_service_model(name)
            except botocore.exceptions.UnknownServiceError:
                raise InvalidInput(f"{printable(repr(name))} is no service of AWS's that botocore knows") from None
            parsers = botocore.parsers.ResponseParserFactory()
            parsers.set_parser_defaults(timestamp_parser=_timestamp)
            parser = parsers.create_parser(str(model.metadata["protocol"]))
            self._services[name] = service = _Service(model, parser)
        return service

    def _client(self, service: str, region: str) -> _Client:
        client = self._clients.get((service, region))
        if client is None:
            access = self._access
            builds = self._session.create_client(
                service,
                region_name=region,
                endpoint_url={"s3": access.endpoint_url, "lambda": access.lambda_endpoint_url}.get(service),
                # Never used: requests leave botocore unsigned. They only keep it from looking for real ones.
                aws_access_key_id="placeholder",
                aws_secret_access_key="placeholder",  # noqa: S106
                config=botocore.config.Config(
                    s3={
                        "addressing_style": access.addressing_style,
                        "us_east_1_regional_endpoint": "regional",
                        "use_accelerate_endpoint": access.use_accelerate,
                    },
                    use_dualstack_endpoint=access.use_dualstack,
                    use_fips_endpoint=access.use_fips,
                    # Without it botocore adds a CRC32 to calls that need none, and some stores refuse it.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    ignore_configured_endpoint_urls=True,  # type: ignore[call-arg] # the stubs lag behind
                ),
            )
            builds.meta.events.register_first(f"request-created.{service}", _hand_over)
            proxies = get_environ_proxies(builds.meta.endpoint_url) if access.proxies is None else dict(access.proxies)
            self._clients[service, region] = client = _Client(builds, ProxyConfiguration(proxies))
        return client

    def _compiled(
        self, action: str, parameters: dict[str, Any], request: AWSRequest, proxies: ProxyConfiguration
    ) -> Compiled:
        prepared = request.prepare()
        url = urlsplit(prepared.url)
        signing = request.context.get("signing", {})
        if request.context.get("auth_type") not in {None, "v4", "s3v4"}:
            raise _other_signatures(action, parameters, request.context["auth_type"])
        headers = [(name.lower(), _text(value)) for name, value in prepared.headers.items()]
        for name, value in headers:
            if not _HEADER_NAME.fullmatch(name):
                raise InvalidInput(f"{action}: {printable(name)!r} is no name for an HTTP header")
            if not value.isascii() or not value.isprintable():
                raise InvalidInput(f"{action}: header {name} only takes printable ASCII, not {printable(value)!r}")
        tls, proxy = url.scheme == "https", _proxy(proxies, prepared.url)
        ours = [("user-agent", self._user_agent)]
        if proxy and proxy.authorization and not tls:  # behind a tunnel it would be S3 that reads it
            ours.append(("proxy-authorization", proxy.authorization))
        return Compiled(
            action=action,
            resource=resource_of(parameters),
            method=prepared.method,
            origin=Origin(tls, url.hostname or "", url.port or (443 if tls else 80), proxy),
            path=url.path or "/",
            query=url.query,
            headers=(*((name, value) for name, value in headers if name not in _DROPPED), *ours),
            body=_bytes(prepared.body),
            region=signing.get("region") or request.context.get("client_region") or self._access.region,
            service=signing.get("signing_name") or self._service(_service_of(action)[0]).model.signing_name,
        )


@lru_cache(maxsize=_SHAPES_MOST)
def _header_names(shape: Any) -> frozenset[str]:
    """The headers that members of an output shape stand in, in lower case."""
    return frozenset(
        member.serialization.get("name", name).lower()
        for name, member in shape.members.items()
        if member.serialization.get("location") == "header"
    )


@lru_cache(maxsize=_SHAPES_MOST)
def _reduced(shape: Any, headers: frozenset[str]) -> Any:
    """The shape without members whose headers an answer hasn't: botocore's parser looks for each of some forty."""
    reduced = copy(shape)
    reduced.members = {
        name: member
        for name, member in shape.members.items()
        if member.serialization.get("location") != "header" or member.serialization.get("name", name).lower() in headers
    }
    return reduced


def resource_of(parameters: dict[str, Any]) -> str:
    """What a call is about, for messages: ``s3://bucket/key``, or a function's name or ARN."""
    if "FunctionName" in parameters:
        return str(parameters["FunctionName"])
    return f"s3://{parameters.get('Bucket', '')}/{parameters.get('Key', parameters.get('Prefix', ''))}"


def _proxy(configured: ProxyConfiguration, url: str) -> Proxy | None:
    """The proxy that boto3 would take to the URL."""
    found = configured.proxy_url_for(url)
    if not found:
        return None
    try:
        authorization = configured.proxy_headers_for(found).get("Proxy-Authorization", "")
    except UnicodeEncodeError:
        raise InvalidInput("proxy: its user and password only take ASCII, percent-encoded in its URL") from None
    return proxy_at(found, authorization)


def _service_of(action: str) -> tuple[str, str]:
    """The service and the name of an action; S3's have no prefix, others do (``lambda:Invoke``)."""
    service, _, name = action.rpartition(":")
    return service or "s3", name


def _region_of(parameters: dict[str, Any]) -> str | None:
    """The region in a function's ARN or what AWS calls a partial one: ``eu-west-1:123456789012:function:name``."""
    found = _REGION.match(str(parameters.get("FunctionName", "")))
    return found[1] if found else None


def _other_signatures(action: str, parameters: dict[str, Any], wanted: str) -> InvalidInput:
    return InvalidInput(
        f"{action}: {printable(parameters.get('Bucket', ''))} wants {wanted} signatures "
        "(a directory bucket or a multi-region access point); only SigV4 is supported"
    )


def _wrong(report: str) -> str:
    """What botocore says of parameters, with the way out where it may be too old for one."""
    unknown = ", ".join(map(printable, _UNKNOWN.findall(report)))
    said = printable(report, 500)
    return f"{_THIS_BOTOCORE} knows no {unknown}; {_NEWER}. {said}" if unknown else said


def _text(value: str | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    return bytes(body) if isinstance(body, (bytes, bytearray)) else bytes(body.read())


def _timestamp(value: Any) -> datetime:
    """A timestamp as botocore reads it; a header's, as Last-Modified, at a fifth of the cost."""
    if isinstance(value, str) and value.endswith(" GMT"):
        with contextlib.suppress(ValueError):
            return parsedate_to_datetime(value)
    parsed: datetime = parse_timestamp(value)
    return parsed


def _decode_listing(parsed: dict[str, Any]) -> None:
    """Undo the URL encoding that botocore asks listings for (it keeps keys with control characters parsable)."""
    items = [parsed, *chain.from_iterable(parsed.get(name, ()) for name in _LISTS)]
    for name in _URL_ENCODED:
        some = [item for item in items if isinstance(item.get(name), str)]
        for item, text in zip(some, _unquoted([item[name] for item in some]), strict=True):
            item[name] = text


def _unquoted(texts: Sequence[str]) -> Sequence[str]:
    # One call for all takes a fifth of the time; a newline among them, plain or encoded, would show as one more.
    together = unquote_plus("\n".join(texts)).split("\n")
    return together if len(together) == len(texts) else [unquote_plus(text) for text in texts]
