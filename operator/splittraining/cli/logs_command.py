"""`splittraining logs`: what the parties' pods wrote, all together or one."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TextIO

from splittraining.api.exit_codes import ExitCode
from splittraining.api.usage import UsageInvalid
from splittraining.cli.log_streams import Interleaved, merge_by_time, split_lines
from splittraining.cli.party_pods import PartyPod, list_pods
from splittraining.cli.reach import Api, use_cluster
from splittraining.cli.tame import tame, tame_line
from splittraining.cli.trainings import Training, choose_parties, fetch_training
from splittraining.cluster.errors import Invalid, NotFound
from splittraining.plan.manifests.job import CONTAINER

LOOK_S = 2.0
"""How often new pods are looked for while logs are followed."""


class LogPrinter:
    """Writes lines, with the party's name before each where there are several.

    Args:
        output: Where to write.
        parties: The parties that are shown.
        is_tame: Whether control characters are written out, as is right for terminals and wrong for files.
    """

    def __init__(self, output: TextIO, parties: Sequence[str], *, is_tame: bool) -> None:
        self._output = output
        self._width = max(map(len, parties)) if len(parties) > 1 else 0
        self._is_tame = is_tame

    def write(self, party: str, line: str) -> None:
        """Writes one line."""
        prefix = f"{party:<{self._width}} | " if self._width else ""
        self._output.write(f"{prefix}{tame(line) if self._is_tame else line}\n")

    def flush(self) -> None:
        """Hands on what was written."""
        self._output.flush()


def execute(arguments: argparse.Namespace) -> int:
    """Shows the logs."""
    use_cluster(arguments, partial(_show, arguments=arguments))
    return ExitCode.OK


async def _show(api: Api, namespace: str, *, arguments: argparse.Namespace) -> None:
    training = await fetch_training(api, namespace, arguments.name)
    parties = choose_parties(training, arguments.party)
    printer = LogPrinter(sys.stdout, parties, is_tame=sys.stdout.isatty())
    if arguments.follow:
        await follow_logs(api, training, parties, printer, attempt=arguments.attempt)
    else:
        await show_logs(api, training, parties, printer, attempt=arguments.attempt, notices=sys.stderr)


async def show_logs(
    api: Api,
    training: Training,
    parties: Sequence[str],
    printer: LogPrinter,
    *,
    attempt: int | None,
    notices: TextIO,
) -> None:
    """Writes what pods have written so far, in the order of its times.

    Raises:
        UsageInvalid: if no pod is left, or none has started.
    """
    wanted = attempt or max(1, training.status.attempt)
    left = await list_pods(api, training)
    pods = [pod for pod in left if pod.party in parties and pod.attempt == wanted]
    speaking = {pod.party: pod for pod in pods if pod.has_started}
    if not speaking:
        raise _explain_silence(training, parties, wanted, pods, left)
    streams = {party: _read(api, training, pod, follow=False, timestamps=True) for party, pod in speaking.items()}
    async for party, line in merge_by_time(streams):
        printer.write(party, line)
    printer.flush()
    for party in parties:
        if party not in speaking:
            waiting = next((pod for pod in pods if pod.party == party), None)
            why = f"has not started: {tame_line(waiting.waits_for)}" if waiting else "is gone"
            notices.write(f"note: the pod of {party} in attempt {wanted} {why}\n")


async def follow_logs(
    api: Api,
    training: Training,
    parties: Sequence[str],
    printer: LogPrinter,
    *,
    attempt: int | None,
    look_s: float = LOOK_S,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> None:
    """Writes what pods write, as it comes, until the training is over; without `attempt` through all that follow.

    Raises:
        UsageInvalid: if it is over and no pod is left.
    """
    first = attempt or max(1, training.status.attempt)
    seen: set[str] = set()
    lines = Interleaved()
    try:
        while True:
            # Asked for before the pods: what began before the end is then seen after it.
            training = await _look_again(api, training)
            pods = await list_pods(api, training)
            for pod in pods:
                is_wanted = pod.attempt == attempt if attempt else pod.attempt >= first
                if is_wanted and pod.party in parties and pod.has_started and pod.name not in seen:
                    seen.add(pod.name)
                    lines.add(pod.party, _read(api, training, pod, follow=True, timestamps=False))
            is_past = training.is_over or (attempt is not None and training.status.attempt > attempt)
            looks_again_s = monotonic_s() + look_s
            while (left_s := looks_again_s - monotonic_s()) > 0 and not (is_past and lines.is_drained):
                for party, line in await lines.wait(left_s):
                    printer.write(party, line)
                printer.flush()
            if is_past and lines.is_drained:
                break
    finally:
        await lines.close()
    if not seen:
        raise _explain_silence(training, parties, first, [], pods)


async def _look_again(api: Api, training: Training) -> Training:
    seen = await fetch_training(api, training.namespace, training.name)
    if seen.uid != training.uid:
        raise UsageInvalid(
            f"{training.name} was deleted meanwhile, and made anew", remedy="call this command again for the new one"
        )
    return seen


async def _read(api: Api, training: Training, pod: PartyPod, *, follow: bool, timestamps: bool) -> AsyncIterator[str]:
    query = {name: "true" for name, is_wanted in (("follow", follow), ("timestamps", timestamps)) if is_wanted}
    pieces = api.stream_log(training.namespace, pod.name, query=query, container=CONTAINER)
    with contextlib.suppress(NotFound, Invalid):  # gone, or its container replaced, since it was listed
        async for line in split_lines(pieces):
            yield line


def _explain_silence(
    training: Training, parties: Sequence[str], attempt: int, pods: Sequence[PartyPod], left: Sequence[PartyPod]
) -> UsageInvalid:
    whose = parties[0] if len(parties) == 1 else training.name
    if pods:
        waiting = "; ".join(f"{pod.party}: {tame_line(pod.waits_for)}" for pod in pods)
        return UsageInvalid(
            f"no pod of {whose} has started yet: {waiting}",
            remedy=f"wait for it: `kubectl splittraining logs {training.name} -f`, or look at `status`",
        )
    others = sorted({pod.attempt for pod in left if pod.party in parties} - {attempt})
    allowed = f"attempts whose pods are left: {', '.join(map(str, others))}" if others else ""
    if training.status.attempt == 0:
        return UsageInvalid(
            f"no pod of {whose} was started yet",
            remedy=f"`kubectl splittraining status {training.name}` says what it waits for",
        )
    return UsageInvalid(
        f"the pods of {whose} in attempt {attempt} are gone, and their logs with them (pods go on suspend, on a retry "
        "and with the training)",
        allowed=allowed,
        remedy="read the party's own log.jsonl, which stays on its output volume: "
        f"`kubectl splittraining fetch {training.name} {parties[0] if len(parties) == 1 else 'PARTY'}`",
    )
