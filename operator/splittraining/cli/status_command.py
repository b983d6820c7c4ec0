"""`splittraining status`: how a training in a cluster is, once or until it is over."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from rich.console import Console

from splittraining.api.conditions import ConditionType
from splittraining.api.exit_codes import ExitCode
from splittraining.api.usage import UsageInvalid
from splittraining.cli.reach import Api, use_cluster
from splittraining.cli.status_board import build_board, explain_failure
from splittraining.cli.status_views import StatusView, choose_status_view
from splittraining.cli.trainings import Training, fetch_training
from splittraining.cluster.client import ApiObject
from splittraining.cluster.errors import ApiError, ServerFailed, TooManyRequests, Unreachable
from splittraining.cluster.resources import CORE_EVENT

PERIOD_S = 2.0
PATIENCE_S = 300.0
"""How long a cluster that has answered once may stay silent."""

Sleep = Callable[[float], Awaitable[None]]


def execute(arguments: argparse.Namespace) -> int:
    """Shows the training; watching ends with it, and with the exit code of what it failed of."""
    console = Console()
    with choose_status_view(console, form=arguments.output, watch=arguments.watch) as view:
        training = use_cluster(arguments, partial(_show, name=arguments.name, view=view, is_watching=arguments.watch))
    if not arguments.watch or not training.holds(ConditionType.FAILED):
        return ExitCode.OK
    code, message = explain_failure(training)
    sys.stderr.write(f"error: {message}\n")
    return code


async def _show(api: Api, namespace: str, *, name: str, view: StatusView, is_watching: bool) -> Training:
    if is_watching:
        return await watch_training(api, namespace, name, view)
    training = await fetch_training(api, namespace, name)
    view.show(training, build_board(training, await list_events(api, training)))
    return training


async def watch_training(
    api: Api,
    namespace: str,
    name: str,
    view: StatusView,
    *,
    sleep: Sleep = asyncio.sleep,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Training:
    """Shows a training until it is over, and returns how it ended.

    It is asked for again and again, not watched: a status is written at most every few seconds, and asking survives
    whatever happens to connections and API servers in between.

    Raises:
        UsageInvalid: if it is deleted meanwhile.
        ApiError: if the cluster stays silent.
    """
    training = await fetch_training(api, namespace, name)
    heard_s = monotonic_s()
    while True:
        view.show(training, build_board(training, await list_events(api, training)))
        if training.is_over:
            return training
        await sleep(PERIOD_S)
        try:
            seen = await fetch_training(api, namespace, name)
        except (Unreachable, ServerFailed, TooManyRequests) as error:
            silent_s = monotonic_s() - heard_s
            if silent_s > PATIENCE_S:
                raise
            view.tell(f"the cluster has not answered for {silent_s:.0f} s: {error}")
            continue
        if seen.uid != training.uid:
            raise UsageInvalid(
                f"{name} was deleted while it was watched, and made anew",
                remedy="call this command again to watch the new one",
            )
        view.tell("")
        training, heard_s = seen, monotonic_s()


async def list_events(api: Api, training: Training) -> list[ApiObject]:
    """Lists events about a training; none where they may not be seen or cannot be had just now."""
    try:
        events, _ = await api.list_all(
            CORE_EVENT, namespace=training.namespace, fields=f"involvedObject.uid={training.uid}"
        )
    except ApiError:
        return []
    return events
