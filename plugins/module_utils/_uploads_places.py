# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The places where uploads can be, as an inventory names them, as rclone is told of them and as the application says that it uses them."""

from __future__ import annotations

import typing as t

OLD_SERVER, SHARE, S3, AZURE_BLOB = "old_server", "share", "s3", "azure_blob"
# Both sides of one file system, under two names: rclone moves a file by a rename only between places that it does not take for one.
STAGING = ".escala-migration"

Place = t.Mapping[str, t.Any]

_NEEDED: t.Dict[str, t.Tuple[str, ...]] = {
    OLD_SERVER: ("host", "address", "user", "path"),
    SHARE: ("path",),
    S3: ("bucket",),
    AZURE_BLOB: ("container", "connection_string"),
}


class PlaceError(ValueError):
    """A place of the inventory that is none, in the words of its variables."""


def place_of(name: str, places: t.Mapping[str, Place], variable: str) -> t.Dict[str, t.Any]:
    """The place that a variable names, checked. Raises PlaceError."""
    if name not in places:
        raise PlaceError(f"{variable} is {name!r}; it must be one of {', '.join(sorted(places))}")
    place = dict(places[name])
    kind = place.get("type")
    if kind not in _NEEDED:
        raise PlaceError(f"migrate_uploads_places.{name}.type is {kind!r}; it must be one of {', '.join(_NEEDED)}")
    empty = [key for key in _NEEDED[kind] if not place.get(key)]
    if empty:
        raise PlaceError(f"{variable} is {name}, and migrate_uploads_places.{name} lacks {', '.join(empty)}")
    if "path" in _NEEDED[kind] and (not str(place["path"]).startswith("/") or str(place["path"]).rstrip("/") == ""):
        raise PlaceError(
            f"migrate_uploads_places.{name}.path is {place['path']!r}; it must be an absolute path below /"
        )
    return {**place, "name": name}


def pair(source: str, target: str, places: t.Mapping[str, Place]) -> t.Dict[str, t.Any]:
    """Both ends of a migration, with what every task needs to know of them. Raises PlaceError."""
    if source == target:
        raise PlaceError(f"migrate_uploads_from and migrate_uploads_to are both {source!r}; name two places")
    ends = {
        "from": place_of(source, places, "migrate_uploads_from"),
        "to": place_of(target, places, "migrate_uploads_to"),
    }
    if {ends["from"]["type"], ends["to"]["type"]} == {OLD_SERVER}:
        raise PlaceError("migrate_uploads_from and migrate_uploads_to are both old servers; one must be shared")
    shown = {}
    for end, place in ends.items():
        directory = directory_of(place)
        has_files = place["type"] in (OLD_SERVER, SHARE)
        shown[end] = {
            "name": place["name"],
            "type": place["type"],
            "remote": f"{end}:{directory}",
            "staging": f"{end}-staging:{directory}/{STAGING}" if has_files else "",
            "renamed": f"{end}-final:{directory}" if has_files else "",
            "path": place["path"] if has_files else "",
            "sees_unfinished": has_files,
            "setting": setting_of(place),
            "location": location_of(place),
        }
    return shown


def rclone_conf(source: str, target: str, places: t.Mapping[str, Place], folder: str) -> str:
    """The configuration of rclone for both ends. It holds keys: it belongs into a file that only its user reads."""
    sections: t.List[str] = []
    for end, name, variable in (("from", source, "migrate_uploads_from"), ("to", target, "migrate_uploads_to")):
        place = place_of(name, places, variable)
        settings = _settings(place, folder)
        names = (end, f"{end}-staging", f"{end}-final") if place["type"] in (OLD_SERVER, SHARE) else (end,)
        sections += [
            f"[{section}]\n" + "".join(f"{key} = {_value(value, place['name'])}\n" for key, value in settings.items())
            for section in names
        ]
    return "\n".join(sections)


def directory_of(place: Place) -> str:
    """What stands behind the colon of a remote of rclone's."""
    if place["type"] in (OLD_SERVER, SHARE):
        return str(place["path"]).rstrip("/")
    return str(place["bucket"] if place["type"] == S3 else place["container"])


def setting_of(place: Place) -> t.Dict[str, str]:
    """What PUT /api/settings/storage is told to have this place used."""
    if place["type"] in (OLD_SERVER, SHARE):
        return {"driver": "local", "path": str(place["path"]).rstrip("/")}
    return {"driver": place["type"]}


def location_of(place: Place) -> str:
    """How the application calls the place in the `path` of its setting; of Azure only the container's name is known beforehand."""
    if place["type"] in (OLD_SERVER, SHARE):
        return str(place["path"]).rstrip("/")
    if place["type"] == AZURE_BLOB:
        return str(place["container"])
    endpoint = str(place.get("endpoint") or "").rstrip("/")
    return f"{endpoint}/{place['bucket']}" if endpoint else f"s3://{place['bucket']}"


def is_at(driver: str, path: str, place_setting: t.Mapping[str, str], location: str) -> bool:
    """Whether what a server says of its storage is this place."""
    if driver != place_setting["driver"]:
        return False
    if driver == AZURE_BLOB:
        return path.rstrip("/").rpartition("/")[2] == location
    return path.rstrip("/") == location


def _settings(place: Place, folder: str) -> t.Dict[str, t.Any]:
    if place["type"] == SHARE:
        return {"type": "local", "skip_links": "true"}
    if place["type"] == OLD_SERVER:
        # No shell and no remote sums: the key opens SFTP and nothing else.
        return {
            "type": "sftp",
            "host": place["address"],
            "port": place.get("port", 22),
            "user": place["user"],
            "key_file": f"{folder}/key",
            "known_hosts_file": f"{folder}/known_hosts",
            "shell_type": "none",
            "disable_hashcheck": "true",
            "skip_links": "true",
        }
    if place["type"] == S3:
        endpoint = place.get("endpoint") or ""
        return {
            "type": "s3",
            "provider": place.get("provider") or ("Other" if endpoint else "AWS"),
            **({"endpoint": endpoint, "force_path_style": "true"} if endpoint else {}),
            "region": place.get("region") or "us-east-1",
            # Without a key the host's own role at AWS serves.
            **(
                {"access_key_id": place["access_key"], "secret_access_key": place.get("secret_key", "")}
                if place.get("access_key")
                else {"env_auth": "true"}
            ),
            # The key may use the bucket and need not be allowed to make one.
            "no_check_bucket": "true",
            # What was written is read back anyway.
            "no_head": "true",
        }
    return _azure_settings(place["connection_string"], place["name"])


def _azure_settings(connection_string: str, name: str) -> t.Dict[str, str]:
    """The parts of a connection string, which rclone 1.60 does not know itself."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    endpoint = parts.get("BlobEndpoint", "").rstrip("/")
    if not endpoint and parts.get("AccountName"):
        suffix = parts.get("EndpointSuffix", "core.windows.net")
        endpoint = f"{parts.get('DefaultEndpointsProtocol', 'https')}://{parts['AccountName']}.blob.{suffix}"
    if parts.get("SharedAccessSignature") and endpoint:
        return {"type": "azureblob", "sas_url": f"{endpoint}/?{parts['SharedAccessSignature'].lstrip('?')}"}
    if parts.get("AccountName") and parts.get("AccountKey"):
        own = {"endpoint": endpoint} if "BlobEndpoint" in parts else {}
        return {"type": "azureblob", "account": parts["AccountName"], "key": parts["AccountKey"], **own}
    raise PlaceError(
        f"migrate_uploads_places.{name}.connection_string has neither AccountName with AccountKey nor BlobEndpoint with SharedAccessSignature"
    )


def _value(value: t.Any, name: str) -> str:
    text = str(value)
    if any(character in text for character in "\r\n"):
        raise PlaceError(f"a value of migrate_uploads_places.{name} has a line break")
    return text


def faults(results: t.Mapping[str, t.Any]) -> t.List[str]:
    """Which hosts did not do what a task was to do on each of them; one that was skipped has not done it."""
    found = []
    for host, result in results.items():
        if not result or result.get("skipped"):
            found.append(f"{host} did not get to it")
        elif result.get("unreachable"):
            found.append(f"{host} could not be reached")
        elif result.get("failed"):
            found.append(f"{host}: {result.get('msg', 'it failed')}")
    return found


def in_the_way(
    ends: t.Mapping[str, t.Any], routes: t.Sequence[str], seen: t.Mapping[str, t.Any], switched: bool
) -> t.List[str]:
    """What must be mended before uploads can be moved, from what the balancers and the servers of the application said."""
    source, target = ends["from"], ends["to"]
    found = list(seen["new"].get("unable", []))
    if OLD_SERVER in (source["type"], target["type"]):
        if not seen["upload_servers"]:
            found.append(
                "the balancers have no load_balancer_upload_servers, so they cannot send uploads to the old server"
            )
    elif "upload_servers" in routes:
        found.append(
            f"the balancers still send uploads to the old server; move them from there first, not from {source['name']}"
        )
    if not switched:
        found += [
            f"{one}, not {source['name']} {source['location']}; set migrate_uploads_from to where the uploads are"
            for one in seen["old"].get("elsewhere", [])
            # What was told to use the new place already, by a run that was broken off, is on its way.
            if not one.endswith(f" {target['location']}")
        ]
    return found
