"""The operator's log: lines of JSON that can be searched by what they are about."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from splittraining.controller.logs import start_logging
from splittraining.controller.work_queue import Key


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    loggers = [
        logging.getLogger(name) for name in ("", "splittraining", "aiohttp.access", "asyncio", "kopf", "kubernetes")
    ]
    levels = [logger.level for logger in loggers]
    text = io.StringIO()
    handler = start_logging("info", stream=text)
    yield text
    logging.getLogger().removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def read(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_who_what_and_about_which_training(stream: io.StringIO) -> None:
    logging.getLogger("splittraining.test").info("looked at %s", "it", extra={"training": Key("trial", "chest-xray")})
    (line,) = read(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "splittraining.test",
        "message": "looked at it",
        "training": "trial/chest-xray",
    }


def test_others_are_heard_only_when_they_warn(stream: io.StringIO) -> None:
    logging.getLogger("kopf.objects").info("handler succeeded")
    logging.getLogger("splittraining.test").debug("detail")
    logging.getLogger("kopf.objects").warning("watch is stuck")
    assert [line["message"] for line in read(stream)] == ["watch is stuck"]


def test_an_error_brings_its_traceback_on_the_same_line(stream: io.StringIO) -> None:
    try:
        [][0]
    except IndexError:
        logging.getLogger("splittraining.test").exception("failed")
    (line,) = read(stream)
    assert "IndexError: list index out of range" in line["traceback"]
