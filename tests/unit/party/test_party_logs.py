"""A party's log: one JSON object a line, with the causes of an error, and a traceback only where it is asked for."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from splittraining.party.logs import logging_to

LOGGER = logging.getLogger("splittraining.tests")


def log_an_error(path: Path, *, debug: bool) -> dict[str, object]:
    error = RuntimeError("a loader raised ValueError")
    error.__cause__ = ValueError("could not read 'Smith'")
    with logging_to(path, party="north", debug=debug):
        LOGGER.error("ended: %s", error, exc_info=error)
    (line,) = path.read_text("utf-8").splitlines()
    parsed: dict[str, object] = json.loads(line)
    return parsed


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_is_logged_with_its_causes(tmp_path: Path, *, debug: bool) -> None:
    line = log_an_error(tmp_path / "log.jsonl", debug=debug)
    assert (line["level"], line["party"], line["message"]) == ("ERROR", "north", "ended: a loader raised ValueError")
    assert line["causes"] == ["ValueError: could not read 'Smith'"]
    assert ("traceback" in line) is debug


def test_what_a_pod_prints_has_the_message_and_never_the_text_of_a_cause(tmp_path: Path) -> None:
    error = RuntimeError("a loader raised ValueError")
    error.__cause__ = ValueError("could not read 'Smith'")
    printed = io.StringIO()
    with logging_to(tmp_path / "log.jsonl", party="north", debug=True, echo=printed):
        LOGGER.error("ended: %s", error, exc_info=error)
    line = json.loads(printed.getvalue())
    assert (line["party"], line["message"]) == ("north", "ended: a loader raised ValueError")
    assert "Smith" not in printed.getvalue()


def test_nothing_is_logged_once_the_context_is_over(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log_an_error(path, debug=False)
    LOGGER.warning("afterwards")
    assert "afterwards" not in path.read_text("utf-8")
