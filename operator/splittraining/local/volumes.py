"""Volumes of a local run: each claim is a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from splittraining.api.usage import UsageInvalid

DEFAULT_FOLDER = "data"
"""Beside the manifest: `data/CLAIM` stands for a claim that no flag names."""


def parse_pairs(values: Iterable[str], *, flag: str, meaning: str, value: str = "FOLDER") -> dict[str, Path]:
    """Parses the values of a flag that is given as NAME=FOLDER, once per name.

    Args:
        values: What was given.
        flag: The flag, for messages.
        meaning: What stands before the equals sign, for messages.
        value: What stands behind it, likewise.

    Raises:
        UsageInvalid: if a value has another form or a name is given twice.
    """
    pairs: dict[str, Path] = {}
    for given in values:
        name, separator, folder = given.partition("=")
        if not (name and separator and folder):
            raise UsageInvalid(f"{flag} {given!r}", allowed=f"{flag} {meaning}={value}", remedy="write it in that form")
        if name in pairs:
            raise UsageInvalid(f"{flag} names {name} twice", allowed=f"each {meaning} once", remedy="leave one out")
        pairs[name] = Path(folder)
    return pairs


def resolve_volumes(claims: Iterable[str], given: Mapping[str, Path], manifest_folder: Path) -> dict[str, Path]:
    """Returns the folder of every claim of a manifest.

    Args:
        claims: Names of the claims that the manifest's parties read.
        given: Folders by claim, from `--volume`.
        manifest_folder: Where the manifest is; `data/CLAIM` beside it is the default.

    Raises:
        UsageInvalid: if a claim has no folder, or a flag names a claim that the manifest has not.
    """
    wanted = dict.fromkeys(claims)
    unknown = sorted(set(given) - set(wanted))
    if unknown:
        raise UsageInvalid(
            f"--volume names {', '.join(unknown)}, which no party of the manifest reads",
            allowed=", ".join(wanted) or "no claim at all",
            remedy="correct the name before the equals sign",
        )
    return {claim: _resolve_volume(claim, given.get(claim), manifest_folder) for claim in wanted}


def _resolve_volume(claim: str, given: Path | None, manifest_folder: Path) -> Path:
    folder = given if given is not None else manifest_folder / DEFAULT_FOLDER / claim
    if folder.is_dir():
        return folder.resolve()
    if given is not None:
        raise UsageInvalid(f"--volume {claim}={given}: that is not a folder", remedy="give a folder that is there")
    raise UsageInvalid(
        f"no folder is known for the claim {claim}",
        allowed=f"a folder {folder}, or one that is named by a flag",
        remedy=f"add --volume {claim}=FOLDER",
    )
