"""What is wrong with one object is its row, by S3's own code, whichever operation finds it; the others are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.operations import (
    ComputeObjectChecksum,
    CopyObject,
    DeleteObjects,
    DeleteObjectTagging,
    MergeObjectTags,
    MoveObject,
    Operation,
    PutObjectAcl,
    PutObjectLegalHold,
    PutObjectRetention,
    PutObjectTagging,
    RestoreObject,
    UndeleteObject,
    VerifyObject,
)
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.flights import fly, limits, to
from tests.servers import Request, ScriptedServer, Step, answer, error

GIB = 2**30
TOO_LARGE = error(400, "InvalidRequest", "The specified copy source is larger than the maximum allowable size")
ETAG = {"etag": f'"{"a" * 32}"'}
COPIED = answer(200, f'<CopyObjectResult><ETag>"{"a" * 32}"</ETag></CopyObjectResult>'.encode())
SOUND: dict[str, bytes] = {
    "HEAD": answer(200, headers={**ETAG, "content-length": "10"}),
    "GET": answer(206, b"0123456789", {**ETAG, "content-range": "bytes 0-9/10"}),
    "GET tagging": answer(200, b"<Tagging><TagSet/></Tagging>"),
    "GET acl": answer(200, b"<AccessControlPolicy><Owner><ID>me</ID></Owner></AccessControlPolicy>"),
    "GET prefix": answer(
        200,
        b"<ListVersionsResult><DeleteMarker><Key>sound</Key><VersionId>m</VersionId><IsLatest>true</IsLatest>"
        b"</DeleteMarker><Version><Key>sound</Key><VersionId>v</VersionId></Version></ListVersionsResult>",
    ),
    "PUT copy": COPIED,
    "PUT": answer(200),
    "POST uploads": answer(
        200, b"<InitiateMultipartUploadResult><UploadId>up</UploadId></InitiateMultipartUploadResult>"
    ),
    "POST delete": answer(200, b"<DeleteResult/>"),
    "POST": answer(202),
    "DELETE": answer(204),
}


def kind(request: Request) -> str:
    """The method of a request, and what tells it from others of the method."""
    found = next((word for word in ("tagging", "acl", "uploads", "prefix", "delete") if word in request.query), "")
    if request.header("x-amz-copy-source"):
        found = "part" if "partNumber" in request.query else "copy"
    return f"{request.method} {found}".strip()


def answers_to(broken: dict[str, bytes]) -> Callable[[Request], Sequence[Step]]:
    """A server on which everything about the object ``broken`` is as said, and all else is sound."""

    def script(request: Request) -> list[bytes]:
        name = kind(request)
        about = {**SOUND, **broken} if "broken" in request.target + request.body.decode("latin-1") else SOUND
        return [about.get(name) or about[request.method]]

    return script


def outcomes_of(operation: Operation, broken: dict[str, bytes], version: str | None) -> dict[str, Outcome]:
    some = [Entry(row, "lake", key, version, key) for row, key in enumerate(("sound", "broken"), start=1)]
    with ScriptedServer(answers_to(broken)) as server:
        outcomes = engine.run(fly(to(server.url), some, operation, chosen=limits(retries=0)))
    assert len(outcomes) == len(some)
    return {outcome.entry.key: outcome for outcome in outcomes}


ARCHIVED = error(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
LOCKED = error(403, "AccessDenied", "Access Denied because object protected by object lock.")
HELD = b"<Error><Key>broken</Key><VersionId>v</VersionId><Code>AccessDenied</Code><Message>Held.</Message></Error>"
TAGGED = answer(200, b"<Tagging><TagSet><Tag><Key>aws:x</Key><Value/></Tag></TagSet></Tagging>")
NO_KEY, NO_VERSION = error(404, "NoSuchKey"), error(404, "NoSuchVersion")
LARGE = answer(200, headers={"etag": '"x-6"', "content-length": str(6 * GIB)})


@pytest.mark.parametrize(
    ("operation", "version", "broken", "status", "code"),
    [
        # What isn't there
        (PutObjectTagging({"a": "b"}), None, {"PUT tagging": NO_KEY}, 404, "NoSuchKey"),
        (PutObjectTagging({"a": "b"}), "v", {"PUT tagging": NO_VERSION}, 404, "NoSuchVersion"),
        (PutObjectTagging({"a": "b"}), "v", {"PUT tagging": error(405, "MethodNotAllowed")}, 405, "MethodNotAllowed"),
        (DeleteObjectTagging(), "v", {"DELETE tagging": NO_VERSION}, 404, "NoSuchVersion"),
        (PutObjectAcl("private"), "v", {"PUT acl": NO_VERSION}, 404, "NoSuchVersion"),
        (CopyObject("archive"), None, {"PUT copy": NO_KEY}, 404, "NoSuchKey"),
        (CopyObject("archive"), "v", {"PUT copy": NO_VERSION}, 404, "NoSuchVersion"),
        (CopyObject("archive", keep_acl=True), "v", {"GET acl": NO_VERSION}, 404, "NoSuchVersion"),
        (MergeObjectTags({"a": "b"}), "v", {"GET tagging": NO_VERSION}, 404, "NoSuchVersion"),
        (ComputeObjectChecksum(), "v", {"GET": NO_VERSION}, 404, "NoSuchVersion"),
        (VerifyObject("archive"), None, {"HEAD": answer(404)}, 404, "NoSuchKey"),
        (VerifyObject("archive"), "v", {"HEAD": answer(404)}, 404, "NoSuchVersion"),
        (MoveObject("archive", overwrite=True), "v", {"HEAD": answer(404)}, 404, "NoSuchVersion"),
        (RestoreObject(1), "v", {"POST": NO_VERSION}, 404, "NoSuchVersion"),
        (PutObjectRetention(), "v", {"PUT": NO_VERSION}, 404, "NoSuchVersion"),
        (UndeleteObject(), None, {"GET prefix": answer(200, b"<ListVersionsResult/>")}, 404, "NoSuchKey"),
        # What is archived
        (CopyObject("archive"), None, {"PUT copy": ARCHIVED}, 403, "InvalidObjectState"),
        (
            CopyObject("archive"),
            None,
            {"PUT copy": TOO_LARGE, "HEAD": LARGE, "PUT part": ARCHIVED},
            403,
            "InvalidObjectState",
        ),
        (MoveObject("archive", overwrite=True), None, {"PUT copy": ARCHIVED}, 403, "InvalidObjectState"),
        (ComputeObjectChecksum(), None, {"GET": ARCHIVED}, 403, "InvalidObjectState"),
        (
            RestoreObject(1),
            None,
            {"POST": error(409, "RestoreAlreadyInProgress")},
            409,
            "RestoreAlreadyInProgress",
        ),
        (RestoreObject(1), None, {"POST": ARCHIVED}, 403, "InvalidObjectState"),
        # What is locked
        (PutObjectRetention(), "v", {"PUT": LOCKED}, 403, "AccessDenied"),
        (PutObjectLegalHold("ON"), "v", {"PUT": error(400, "InvalidRequest")}, 400, "InvalidRequest"),
        (MoveObject("archive", overwrite=True), "v", {"DELETE": LOCKED}, 403, "AccessDenied"),
        (
            DeleteObjects(),
            "v",
            {"POST delete": answer(200, b"<DeleteResult>" + HELD + b"</DeleteResult>")},
            200,
            "AccessDenied",
        ),
        # What would become invalid
        (
            MergeObjectTags({"a": "b"}),
            None,
            {"GET tagging": TAGGED, "PUT tagging": error(400, "InvalidTag")},
            400,
            "InvalidTag",
        ),
        (
            MergeObjectTags({str(number): "" for number in range(10)}),
            None,
            {"GET tagging": TAGGED},
            400,
            "BadRequest",
        ),
        # What a copy takes in one request only where it changes something
        (CopyObject("lake", storage_class="STANDARD_IA"), None, {"PUT copy": TOO_LARGE}, 400, "InvalidRequest"),
    ],
)
def test_problem_of_one_object_is_its_row_alone_with_s3s_code(
    operation: Operation, version: str | None, broken: dict[str, bytes], status: int, code: str
) -> None:
    outcomes = outcomes_of(operation, broken, version)

    assert (outcomes["broken"].succeeded, outcomes["broken"].http_status, outcomes["broken"].code) == (
        False,
        status,
        code,
    )
    assert outcomes["sound"].succeeded
