"""PutObjectAcl: replace every object's access control list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.operations.base import RequestOperation, with_version
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.values import Text, Value, known_arguments, one_of

__all__ = ["CannedAcl", "Grant", "PutObjectAcl", "grant_headers", "grants_of", "kept_grants"]

CannedAcl = Annotated[
    Text,
    one_of(
        "private",
        "public-read",
        "public-read-write",
        "aws-exec-read",
        "authenticated-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
    ),
]
"""AWS's S3CannedAccessControlList: https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#canned-acl"""

# The S3 API's words for the kinds of grantee, by the batch API's words.
_TYPES = {"id": "CanonicalUser", "emailAddress": "AmazonCustomerByEmail", "uri": "Group"}
_FIELDS = {"id": "ID", "emailAddress": "EmailAddress", "uri": "URI"}
_HEADERS = {
    "FULL_CONTROL": "GrantFullControl",
    "READ": "GrantRead",
    "READ_ACP": "GrantReadACP",
    "WRITE_ACP": "GrantWriteACP",
}


def _quotable(grantee: str) -> str:
    # It stands between quotes in CopyObject's headers.
    if is_template(grantee) or (grantee.isprintable() and '"' not in grantee):
        return grantee
    raise InvalidInput(f"{printable(repr(grantee))} names no grantee")


class Grant(Value):
    """A permission for somebody: ``Grant("READ", uri="http://acs.amazonaws.com/groups/global/AllUsers")``.

    Args:
        permission: FULL_CONTROL, READ, WRITE, READ_ACP or WRITE_ACP.
        id, email, uri: the grantee, by one of: canonical user id, email address, predefined group.
    """

    permission: Annotated[Text, one_of("FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP")]
    kind: Literal["id", "emailAddress", "uri"]
    grantee: Annotated[Text, Field(min_length=1, max_length=1024), AfterValidator(_quotable)]

    def __init__(self, permission: str, *, id: str = "", email: str = "", uri: str = "") -> None:  # noqa: A002 - S3's word
        given = {kind: who for kind, who in (("id", id), ("emailAddress", email), ("uri", uri)) if who}
        if len(given) != 1:
            raise InvalidInput("Grant: name the grantee by one of id, email and uri")
        ((kind, grantee),) = given.items()
        super().__init__(permission=permission, kind=kind, grantee=grantee)

    def to_aws(self) -> dict[str, Any]:
        """AWS's S3Grant."""
        return {"Grantee": {"TypeIdentifier": self.kind, "Identifier": self.grantee}, "Permission": self.permission}

    @classmethod
    def from_aws(cls, grant: dict[str, Any]) -> Self:
        """Build it from AWS's S3Grant."""
        try:
            grantee, permission = grant["Grantee"], grant["Permission"]
            kind, who = grantee["TypeIdentifier"], grantee["Identifier"]
            ours = {"id": "id", "emailAddress": "email", "uri": "uri"}[kind]
        except (KeyError, TypeError):
            wrong = "needs Permission, Grantee.Identifier and Grantee.TypeIdentifier (id, emailAddress or uri)"
            raise InvalidInput(f"Grant: {wrong}; got {printable(repr(grant))}") from None
        return cls(permission, **{ours: who})

    @classmethod
    def from_s3(cls, grant: dict[str, Any]) -> Self:
        """Build it from a Grant of the S3 API's AccessControlPolicy, as GetObjectAcl tells it.

        Raises:
            InvalidInput: it isn't one that S3 could have told.
        """
        grantee = grant.get("Grantee", {})
        return cls(grant.get("Permission", ""), id=grantee.get("ID", ""), uri=grantee.get("URI", ""))

    def to_s3(self) -> dict[str, Any]:
        """A Grant of the S3 API's AccessControlPolicy."""
        return {"Grantee": {"Type": _TYPES[self.kind], _FIELDS[self.kind]: self.grantee}, "Permission": self.permission}


def grant_headers(grants: tuple[Grant, ...]) -> dict[str, str]:
    """The grants as parameters of CopyObject (its ``x-amz-grant-*`` headers).

    Raises:
        InvalidInput: a permission that objects can't be created with (WRITE).
    """
    headers: dict[str, list[str]] = {}
    for grant in grants:
        if grant.permission not in _HEADERS:
            raise InvalidInput(f"grants: {grant.permission} is no permission on an object")
        headers.setdefault(_HEADERS[grant.permission], []).append(f'{grant.kind}="{grant.grantee}"')
    return {name: ", ".join(who) for name, who in headers.items()}


def grants_of(name: str, given: Any) -> list[Grant]:
    """Build grants from AWS's S3Grants; `name` is the operation's.

    Raises:
        InvalidInput: they aren't such.
    """
    if not isinstance(given, (list, tuple)):
        wrong = f'write grants as [{{"Grantee": …, "Permission": …}}]; got {printable(repr(given))}'
        raise InvalidInput(f"{name}: {wrong}")
    return [Grant.from_aws(grant) for grant in given]


async def kept_grants(source: dict[str, Any], s3: S3Calls) -> dict[str, str]:
    """An object's ACL, as parameters of what copies it; none if it is private, as everything new is by itself.

    So nothing is said of ACLs to or from buckets in which they are disabled: objects there are private.

    Args:
        source: GetObjectAcl's parameters.
        s3: S3.

    Raises:
        S3Error: S3 doesn't tell.
    """
    told = await s3.call("GetObjectAcl", **source)
    # WRITE on an object permits nothing, and no object can be created with it:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#permissions
    grants = [Grant.from_s3(grant) for grant in told.get("Grants", ()) if grant.get("Permission") != "WRITE"]
    owner = told.get("Owner", {}).get("ID")
    if owner and grants == [Grant("FULL_CONTROL", id=owner)]:
        return {}
    return grant_headers(tuple(grants))


class PutObjectAcl(RequestOperation):
    """Replace every object's ACL: ``PutObjectAcl("bucket-owner-full-control")``, or with grants.

    Args:
        canned: one of S3's canned ACLs.
        grants: instead of `canned`, who may do what.
        owner: with `grants`, the canonical user id of the objects' owner. Alone, it means that nobody else has access.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-put-object-acl.html
    """

    aws_name: ClassVar[str] = "S3PutObjectAcl"

    canned: CannedAcl | None = None
    grants: tuple[Grant, ...] = ()
    owner: Annotated[Text, Field(max_length=1024)] = ""

    def __init__(self, canned: str | None = None, *, grants: Sequence[Grant] = (), owner: str = "") -> None:
        super().__init__(canned=canned, grants=grants, owner=owner)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.canned and self.grants) or not (self.canned or self.grants or self.owner):
            raise InvalidInput("give either a canned ACL or grants")
        if bool(self.canned) == bool(self.owner):
            raise InvalidInput("grants need the owner's canonical user id, and only they do")
        return self

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One PutObjectAcl."""
        parameters: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if self.canned is not None:
            parameters["ACL"] = self.canned
        else:
            grants = [grant.to_s3() for grant in self.grants]
            parameters["AccessControlPolicy"] = {"Owner": {"ID": self.owner}, "Grants": grants}
        return "PutObjectAcl", with_version(parameters, version)

    def arguments(self) -> dict[str, Any]:
        """AWS's S3SetObjectAclOperation."""
        if self.canned is not None:
            return {"AccessControlPolicy": {"CannedAccessControlList": self.canned}}
        grants = [grant.to_aws() for grant in self.grants]
        return {"AccessControlPolicy": {"AccessControlList": {"Owner": {"ID": self.owner}, "Grants": grants}}}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3SetObjectAclOperation."""
        known_arguments(cls.__name__, arguments, {"AccessControlPolicy"})
        policy = arguments.get("AccessControlPolicy") or {}
        known_arguments(cls.__name__, policy, {"CannedAccessControlList", "AccessControlList"})
        acl = known_arguments(cls.__name__, policy.get("AccessControlList") or {}, {"Owner", "Grants"})
        owner = known_arguments(cls.__name__, acl.get("Owner") or {}, {"ID", "DisplayName"})
        return cls(
            policy.get("CannedAccessControlList"),
            grants=grants_of(cls.__name__, acl.get("Grants") or ()),
            owner=owner.get("ID", ""),
        )
