# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bucket lacks of what it should have, for a run in check mode: the modules that prepare one say nothing in it."""

from __future__ import annotations

import json
import typing as t

_CLOSED = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def _first(found: t.Mapping[str, t.Any], *keys: str) -> t.Mapping[str, t.Any]:
    """The first rule of a setting that AWS wraps in a list of them; nothing where it is not set."""
    inner: t.Any = found
    for key in keys:
        inner = inner.get(key, {})
    return dict(inner[0]) if inner else {}


def rule(wanted: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """A rule of the life cycle as the storage shows it, from the options by which it is made."""
    made: t.Dict[str, t.Any] = {
        "ID": wanted["rule_id"],
        "Status": "Enabled",
        "Filter": {"Prefix": wanted["prefix"]},
        "NoncurrentVersionExpiration": {"NoncurrentDays": wanted["noncurrent_days"]},
        "Expiration": {"Days": wanted["expire_days"]} if wanted["expire_days"] else {"ExpiredObjectDeleteMarker": True},
    }
    if wanted["abort_days"]:
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": wanted["abort_days"]}
    return made


def bucket_changes(found: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> t.List[str]:
    """What a run would change at a bucket that amazon.aws.s3_bucket_info has shown, in the order in which it would."""
    changes: t.List[str] = []
    versions = found["bucket_versioning"].get("Status") == "Enabled"
    if versions != wanted["versioning"]:
        changes.append(
            f"versions are {'' if versions else 'not '}kept, and would {'' if wanted['versioning'] else 'not '}be"
        )
    if wanted["on_aws"]:
        changes += _changes_on_aws(found, wanted["policy"])
    rules = {rule["ID"]: rule for rule in found["bucket_lifecycle_configuration"].get("Rules", [])}
    for options in wanted["rules"]:
        if rules.get(options["rule_id"]) != rule(options):
            changes.append(
                f"the rule {options['rule_id']} of the life cycle {'is another' if options['rule_id'] in rules else 'is missing'}"
            )
    return changes


def _changes_on_aws(found: t.Mapping[str, t.Any], policy: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    public = found["public_access_block"].get("PublicAccessBlockConfiguration", {})
    if not all(public.get(name) for name in _CLOSED):
        yield "public access is not blocked in every way"
    if json.loads(found["bucket_policy"].get("Policy", "{}")) != policy:
        yield "its policy is another, and would be replaced by the one that refuses what is not encrypted on the way"
    encryption = _first(found["bucket_encryption"], "ServerSideEncryptionConfiguration", "Rules")
    if encryption.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm") != "AES256":
        yield "it is not encrypted by SSE-S3"
    if (
        _first(found["bucket_ownership_controls"], "OwnershipControls", "Rules").get("ObjectOwnership")
        != "BucketOwnerEnforced"
    ):
        yield "objects may belong to who uploads them"
