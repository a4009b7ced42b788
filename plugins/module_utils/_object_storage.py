# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 and Azure Blob with Python's standard library alone: which request does what, how it is signed, and what an answer means in plain words."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import ssl
import typing as t
from datetime import datetime
from urllib.parse import quote, unquote, urlsplit

from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, Response, problem, send

# Where the application's own checks write, and what a rule of the life cycle clears.
PROBE_PREFIX = ".probe/"

_AZURE_VERSION = "2021-08-06"
_EMPTY = b""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")


class Question(t.NamedTuple):
    """One request, without the names and dates that signing adds. The path is as it is sent."""

    method: str
    path: str
    query: t.Mapping[str, str] = {}
    headers: t.Mapping[str, str] = {}
    body: bytes = _EMPTY

    @property
    def target(self) -> str:
        return f"{self.path}?{canonical_query(self.query)}" if self.query else self.path


class Names(t.NamedTuple):
    """The variables that an operator finds in a message: the application's key, or that of whoever prepares the bucket."""

    access_key: str
    access_key_secret: str


APPLICATION = Names("object_storage_access_key", "object_storage_secret_key")
ADMINISTRATOR = Names("object_storage_admin_access_key", "object_storage_admin_secret_key")


def canonical_query(query: t.Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))


def code_of(answer: Response) -> str:
    """The storage's own name for what it refused, or an empty text where it gave none."""
    return answer.headers.get("x-ms-error-code") or _tag("Code", answer.body)


def _tag(name: str, body: bytes) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>".encode(), body)
    return found.group(1).decode(errors="replace") if found else ""


def _unknown(where: str, answer: Response) -> str:
    code = code_of(answer)
    if not code:
        return f"{where} answered {answer.status} in words that are not an object storage's; it leads to something else, correct it"
    return f"{where} answered {answer.status} {code}: {_tag('Message', answer.body)}; look this name up in the storage's documentation"


class S3:
    """A bucket at an endpoint. Its name is part of the path, which AWS and everybody else take."""

    label = "object_storage_endpoint"

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        self.region: str = options["region"]
        self.where: str = options["endpoint"].rstrip("/") or f"https://s3.{self.region}.amazonaws.com"
        self.bucket = _named(options["bucket"], _BUCKET, "3 to 63 small letters, digits, dots and dashes")
        self._key: str = options["access_key"]
        self._secret: str = options["access_key_secret"]
        self._session: str = options["session_token"]
        self._owner: str = options["expected_owner"]
        self._names = ADMINISTRATOR if options["key_of"] == "administrator" else APPLICATION
        for name, value in ((self._names.access_key, self._key), (self._names.access_key_secret, self._secret)):
            if not value:
                raise ValueError(f"{name} is empty; give the key that {self.where} knows")

    def look(self, by_owner: bool = True) -> Question:
        """The request that shows whether the bucket is there and this key may look into it."""
        return Question(
            "GET", f"/{self.bucket}", {"list-type": "2", "max-keys": "1"}, self._expected() if by_owner else {}
        )

    def write(self, name: str, body: bytes) -> Question:
        return Question("PUT", self._path(name), {}, self._expected(), body)

    def read(self, name: str) -> Question:
        return Question("GET", self._path(name))

    def remove(self, name: str, written: Response) -> Question:
        """Delete what an answer says was written; where versions are kept, that version, so that none stays behind."""
        version = written.headers.get("x-amz-version-id", "")
        return Question("DELETE", self._path(name), {"versionId": version} if version else {})

    def owned_by_others(self, answer: Response) -> bool:
        """Whether the expected owner may be what this answer refuses."""
        return bool(self._owner) and answer.status == 403 and code_of(answer) in ("AccessDenied", "")

    @property
    def foreign(self) -> str:
        """What to say where only the expected owner was refused."""
        return (
            f"the bucket {self.bucket} (object_storage_bucket) belongs to another account than {self._owner} (object_storage_expected_owner); "
            f"choose another name, or correct the number of your account"
        )

    def missing(self, answer: Response) -> bool:
        return code_of(answer) == "NoSuchBucket"

    def signed(self, question: Question, host: str, moment: datetime) -> Question:
        """Signature version 4."""
        stamp = moment.strftime("%Y%m%dT%H%M%SZ")
        day = stamp[:8]
        digest = hashlib.sha256(question.body).hexdigest()
        headers = {**question.headers, "host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        if self._session:
            headers["x-amz-security-token"] = self._session
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join([question.method, question.path, canonical_query(question.query), lines, names, digest])
        scope = f"{day}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = f"AWS4{self._secret}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        credential = f"AWS4-HMAC-SHA256 Credential={self._key}/{scope}, SignedHeaders={names}, Signature={signature}"
        del headers["host"]
        return question._replace(headers={**headers, "authorization": credential})

    def fault(self, doing: str, answer: Response) -> str:
        """Why an answer is none, with the variable, its value and what to do."""
        code = code_of(answer)
        key = f"the key {self._key[:4]}... ({self._names.access_key})"
        if self.missing(answer):
            return f"{self.where} has no bucket {self.bucket} (object_storage_bucket); make it, or have it made with object_storage_manage"
        if code == "InvalidAccessKeyId":
            return f"{self.where} does not know {key}; correct it together with {self._names.access_key_secret}"
        if code == "SignatureDoesNotMatch":
            return f"{self.where} knows {key}, and {self._names.access_key_secret} is not its secret; correct it"
        if code in ("ExpiredToken", "InvalidToken", "TokenRefreshRequired"):
            return f"the session of {key} is over or is none ({code}); take a new one, its object_storage_admin_session_token included"
        if code == "AccessDenied" and doing == "look into":
            return (
                f"{key} may not look into the bucket {self.bucket} (object_storage_bucket), for one of three reasons: there is no such bucket, then make it; "
                f"it belongs to somebody else, since a name is given once for all accounts, then choose another; the key lacks s3:ListBucket, then give it that"
            )
        if code == "AccessDenied":
            return f"{key} may not {doing} an object in {self.bucket}; give it what docs/object-storage.md lists"
        if code in (
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ):
            there = answer.headers.get("x-amz-bucket-region") or _tag("Region", answer.body) or "another one"
            return f"object_storage_region is {self.region}, and the bucket {self.bucket} is in {there}; correct the region"
        return _refused_by_all(self.where, answer) or _unknown(f"{self.where} ({self.label})", answer)

    def _path(self, name: str) -> str:
        return f"/{self.bucket}/{quote(name, safe='/')}"

    def _expected(self) -> t.Dict[str, str]:
        return {"x-amz-expected-bucket-owner": self._owner} if self._owner else {}


class Azure:
    """A container at the blob service that a connection string names."""

    label = "object_storage_azure_connection_string"
    # An account has one owner, and the connection string names the account.
    foreign = ""

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        parts = connection_string(options["connection_string"])
        self.container = _named(options["bucket"], _CONTAINER, "3 to 63 small letters, digits and single dashes")
        self.account: str = parts.get("AccountName", "")
        self.where = (
            parts.get("BlobEndpoint", "").rstrip("/")
            or f"{parts.get('DefaultEndpointsProtocol', 'https')}://{self.account}.blob.{parts.get('EndpointSuffix', 'core.windows.net')}"
        )
        self._base = urlsplit(self.where).path
        self._signature = parts.get("SharedAccessSignature", "").lstrip("?")
        try:
            self._key = base64.b64decode(parts.get("AccountKey", ""), validate=True)
        except binascii.Error as error:
            raise ValueError(
                f"the AccountKey in {self.label} is not in base 64; copy the whole string again"
            ) from error

    def look(self, by_owner: bool = True) -> Question:
        """A list of one: what a signature for one container may ask, unlike the container's properties."""
        return Question("GET", self._path(), {"restype": "container", "comp": "list", "maxresults": "1"})

    @property
    def keyed(self) -> bool:
        """Whether it is the account's own key that signs; a signature that was given may not ask for a container's rules."""
        return not self._signature

    def create(self) -> Question:
        """Make the container, for nobody without a key: that is what the absence of a header means."""
        return Question("PUT", self._path(), {"restype": "container"})

    def rules(self) -> Question:
        return Question("GET", self._path(), {"restype": "container", "comp": "acl"})

    def close(self, rules: Response) -> Question:
        """Take the public's access away, and leave the container's stored rules as they are."""
        headers = {"content-type": "application/xml"} if rules.body else {}
        return Question("PUT", self._path(), {"restype": "container", "comp": "acl"}, headers, rules.body)

    def write(self, name: str, body: bytes) -> Question:
        return Question(
            "PUT",
            self._path(name),
            {},
            {"x-ms-blob-type": "BlockBlob", "content-type": "application/octet-stream"},
            body,
        )

    def read(self, name: str) -> Question:
        return Question("GET", self._path(name))

    def remove(self, name: str, written: Response) -> Question:
        return Question("DELETE", self._path(name))

    def owned_by_others(self, answer: Response) -> bool:
        return bool(self.foreign)

    def missing(self, answer: Response) -> bool:
        return code_of(answer) == "ContainerNotFound"

    def open_to_all(self, rules: Response) -> str:
        """What everybody may do, an empty text for nothing."""
        return rules.headers.get("x-ms-blob-public-access", "")

    def signed(self, question: Question, host: str, moment: datetime) -> Question:
        """Azure's Shared Key, or the signature that the connection string brings."""
        headers = {
            **question.headers,
            "x-ms-date": moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "x-ms-version": _AZURE_VERSION,
        }
        if self._signature:
            given = dict(pair.split("=", 1) for pair in self._signature.split("&"))
            return question._replace(
                query={**question.query, **{name: unquote(value) for name, value in given.items()}}, headers=headers
            )
        length = str(len(question.body)) if question.body else ""
        standard = ["", "", length, "", question.headers.get("content-type", ""), "", "", "", "", "", ""]
        own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
        resource = f"/{self.account}{question.path}" + "".join(
            f"\n{name}:{value}" for name, value in sorted(question.query.items())
        )
        text = "\n".join([question.method, *standard, own + resource])
        signature = base64.b64encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest()).decode()
        return question._replace(headers={**headers, "authorization": f"SharedKey {self.account}:{signature}"})

    def fault(self, doing: str, answer: Response) -> str:
        code = code_of(answer)
        if self.missing(answer):
            return f"{self.where} has no container {self.container} (object_storage_bucket); make it, or have it made with object_storage_manage"
        if code == "AuthenticationFailed":
            return f"{self.where} does not accept the key in {self.label}; copy the string of this account again"
        if code in (
            "AuthorizationFailure",
            "AuthorizationPermissionMismatch",
            "AuthorizationServiceMismatch",
            "AuthorizationResourceTypeMismatch",
        ):
            what = "the container" if doing in ("look into", "change") else "an object in the container"
            return (
                f"{self.where} does not let the key in {self.label} {doing} {what} {self.container} ({code}), for one of three reasons: "
                "it is not this account's, then copy the string again; its signature has not the right to, then give it that; "
                "the account's firewall keeps this host out, then let it in"
            )
        if code in (
            "AccountIsDisabled",
            "KeyBasedAuthenticationNotPermitted",
            "InvalidResourceName",
            "PublicAccessNotPermitted",
        ):
            return f"{self.where} refuses the container {self.container} (object_storage_bucket): {code}; change that at the account"
        return _refused_by_all(self.where, answer) or _unknown(f"{self.where} ({self.label})", answer)

    def _path(self, name: str = "") -> str:
        return f"{self._base}/{self.container}" + (f"/{quote(name, safe='/')}" if name else "")


Storage = t.Union[S3, Azure]


def _named(name: str, pattern: t.Pattern[str], rule: str) -> str:
    if not pattern.fullmatch(name):
        raise ValueError(f"object_storage_bucket is {name!r}; a name there has {rule}, give one that has")
    return name


def _refused_by_all(where: str, answer: Response) -> str:
    """What any storage may say."""
    code = code_of(answer)
    if code == "RequestTimeTooSkewed":
        return f"the clock of this host is more than 15 minutes off, says {where}; have it follow a time server"
    if answer.status == 507:
        return f"{where} is full ({code}); add capacity or delete what nobody needs"
    if answer.status >= 500 or code in ("SlowDown", "ServerBusy"):
        return f"{where} is overloaded or not all there ({answer.status} {code}); see to its own health"
    return ""


def connection_string(text: str) -> t.Dict[str, str]:
    """The parts of Azure's connection string; raises ValueError for one that leads nowhere, without showing it."""
    parts = dict(part.split("=", 1) for part in text.strip().split(";") if "=" in part)
    account = parts.get("AccountName") and parts.get("AccountKey")
    if not (account or (parts.get("SharedAccessSignature") and parts.get("BlobEndpoint"))):
        raise ValueError(
            f"object_storage_azure_connection_string {'is empty' if not text else 'has the parts ' + ', '.join(sorted(parts))}: it takes AccountName "
            "and AccountKey, or BlobEndpoint and SharedAccessSignature; copy it from the account's page of access keys"
        )
    return parts


class Asker:
    """Sends a storage's requests from this host."""

    def __init__(self, storage: Storage, ca_file: str, timeout_seconds: float, now: t.Callable[[], datetime]) -> None:
        parts = urlsplit(storage.where)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(
                f"{storage.label} leads to {storage.where}, which is no address of https://; secrets and uploads go encrypted only, correct it"
            )
        port = parts.port or 443
        self._endpoint = Endpoint(parts.hostname, port, parts.hostname, timeout_seconds)
        self._host = parts.hostname if port == 443 else f"{parts.hostname}:{port}"
        self._storage = storage
        self._ca_file = ca_file
        self._now = now
        try:
            self._tls = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(
                f"object_storage_ca_file is {ca_file}, which this host cannot take ({problem(error)}); correct it"
            ) from error

    def __call__(self, question: Question) -> Response:
        """The answer to a signed request; raises OSError whatever the network did."""
        return self._send(self._storage.signed(question, self._host, self._now()))

    def unsigned(self, question: Question) -> Response:
        """What somebody without a key is answered."""
        return self._send(question._replace(headers={}))

    def away(self, error: OSError) -> str:
        """Why no answer came, with the variable, its value and what to do."""
        label = f"{self._storage.where} ({self._storage.label})"
        if isinstance(error, ssl.SSLCertVerificationError):
            trusted = self._ca_file or "not set, so this host's own authorities count"
            return (
                f"{label} shows a certificate that is not trusted: {error.verify_message}; object_storage_ca_file is {trusted}: "
                f"give the file of the authority that signed it, or certify the name {self._endpoint.server_name}"
            )
        if isinstance(error, ssl.SSLError):
            return f"{label} does not speak TLS as it should ({problem(error)}); correct the address or the port"
        return f"{label} cannot be reached from this host ({problem(error)}); correct it, start what should listen there, or open the firewall"

    def _send(self, question: Question) -> Response:
        headers = {**question.headers, "Host": self._host}
        return send(self._endpoint, question.method, question.target, self._tls, headers, question.body or None)
