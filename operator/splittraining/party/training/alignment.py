"""Whether the parties of a Joint schedule hold the same rows: told before the first step, by name."""

from __future__ import annotations

from collections.abc import Mapping

from splittraining.api.errors import DataInvalid


def check_row_counts(split: str, rows: Mapping[str, int]) -> None:
    """Refuses parties that hold different numbers of rows.

    Args:
        split: ``training`` or ``test``, for the message.
        rows: Rows by party.

    Raises:
        DataInvalid: with everybody's number.
    """
    if len(set(rows.values())) > 1:
        given = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise DataInvalid(
            f"the {split} sets have different numbers of rows: {given}",
            allowed="the same rows, by idColumn, at every party of a Joint schedule",
            remedy="keep only the rows whose ids every party has",
        )


def fill_row_counts(rows: dict[str, int], held: Mapping[str, int]) -> None:
    """Lets parties without data of their own count the rows that all others hold: they take part in every step.

    Args:
        rows: Rows by party, as each one said of itself; changed in place.
        held: Rows by party, those that hold data alone; they are all equal.
    """
    for name in rows:
        rows[name] = next(iter(held.values()))


def check_row_ids(split: str, digests: Mapping[str, str]) -> None:
    """Refuses parties whose keyed digests of all row ids differ.

    Args:
        split: ``training`` or ``test``, for the message.
        digests: Digests by party.

    Raises:
        DataInvalid: naming the parties that differ from the first one.
    """
    first = next(iter(digests))
    others = sorted(name for name, digest in digests.items() if digest != digests[first])
    if others:
        raise DataInvalid(
            f"the {split} rows of {', '.join(others)} have other ids than those of {first}",
            allowed="the same ids in idColumn at every party of a Joint schedule",
            remedy="keep only the rows whose ids every party has, and name the same kind of id everywhere",
        )
