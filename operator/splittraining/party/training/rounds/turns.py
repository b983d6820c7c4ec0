"""A turn at the server: of one client in Sequential, of all together in Joint."""

from __future__ import annotations

from collections.abc import Mapping

from splittraining.api.report import PartyState
from splittraining.party.training.rounds.interface import RoundSums
from splittraining.party.training.rounds.server_side import ServerSide
from splittraining.party.training.schedule import PlannedTurn
from splittraining.party.wire.link import Link
from splittraining.party.wire.orders import Turn, TurnSpan


def run_turn(side: ServerSide, turn: PlannedTurn, links: Mapping[str, Link]) -> RoundSums:
    """Orders one turn and runs the server's part of its steps.

    Args:
        side: The server.
        turn: What to train.
        links: By owner name of the wire plan.
    """
    active = side.name_active(turn.clients)
    side.telemetry.enter(PartyState.TRAINING, round_number=turn.round, active_party=active)
    order = build_order(turn)
    for name in turn.clients:
        side.links[name].send_control(order)
    feed = side.build_feed("train", turn.clients[0])
    prepare = side.assembly.share.updates.prepare(turn.round, peers={owner: [link] for owner, link in links.items()})
    sums = RoundSums()
    for given in feed.iterate_training(turn.spans, first_step=turn.first_step):
        loss = side.assembly.engine.train(given, links, before_update=prepare)
        sums += RoundSums(given.rows, 0.0 if loss is None else loss * given.rows)
        side.step = given.step
        side.telemetry.record_step(step=given.step, round_number=turn.round, rows=given.rows, loss=loss, client=active)
    return sums + RoundSums(loss_sum=side.recv_turn_losses(turn.clients))


def build_order(turn: PlannedTurn) -> Turn:
    """Builds the order that starts a turn."""
    spans = tuple(
        TurnSpan(epoch=span.epoch, first_batch=span.first_batch, num_batches=span.num_batches) for span in turn.spans
    )
    return Turn(round=turn.round, first_step=turn.first_step, spans=spans)
