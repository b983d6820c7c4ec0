"""A run that predicts: prepared like a training, then every row goes forward once, and nothing is learned.

The stages are the training's, through the same engine, wire plan and links. Each party brings the segments that it
trained; the conductor tells of which generation and step the server's are, and a client with others ends the run. The
output ends where the labels would be (model/prediction), and is written there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from splittraining.api.errors import ContractMismatch, DataInvalid, ProtocolViolation
from splittraining.api.report import PartyState
from splittraining.api.results import ResultManifest
from splittraining.party.training.assembly import Assembly
from splittraining.party.training.conductor import Conductor
from splittraining.party.training.engine import Links, StepInput
from splittraining.party.training.feed import BatchFeed
from splittraining.party.training.follower import Follower
from splittraining.party.training.predictions import Predictions
from splittraining.party.training.schedule import count_batches
from splittraining.party.training.telemetry import Telemetry
from splittraining.party.wire.orders import Finish, Finished, Predict, Predicted


class PredictionConductor(Conductor):
    """Drives one prediction, from the same Prepare as a training's to Finish."""

    def run(self) -> None:
        """Predicts every party's rows.

        Raises:
            SplitTrainingError: whatever ended it.
        """
        if not any(self._side.test_rows.values()):
            raise DataInvalid(
                "no party has rows to predict",
                allowed="a file of rows, or data.test, at one client at least",
                remedy="add --rows PARTY=FILE",
            )
        self._prepare()
        manifest = _take_result(self._assembly)
        predictions = Predictions(self._assembly)
        first_step = 1
        for group in self._list_groups():
            first_step += self._predict(group, manifest, first_step, predictions)
        self._telemetry.enter(PartyState.FINISHING, active_party="")
        for name in self._clients:
            self._links[name].send_control(Finish(step=manifest.step))
        predictions.write(Path(self._document.output_path))
        for name in self._clients:
            self._line.recv(name, Finished)

    def _list_groups(self) -> list[list[str]]:
        """Returns who predicts together: all in a joint step, else one client after the other."""
        return [self._clients] if self._assembly.is_joint else [[name] for name in self._clients]

    def _count_steps(self) -> int:
        batch_size = self._assembly.contract.training.batch_size
        return sum(count_batches(self._side.test_rows[group[0]], batch_size) for group in self._list_groups())

    def _predict(self, group: list[str], manifest: ResultManifest, first_step: int, predictions: Predictions) -> int:
        active = self._side.name_active(group)
        self._telemetry.enter(PartyState.PREDICTING, active_party=active)
        order = Predict(first_step=first_step, result_generation=manifest.generation, result_step=manifest.step)
        for name in group:
            self._links[name].send_control(order)
        inputs = number_steps(self._side.build_feed("test", group[0]), first_step)
        links = self._side.list_links(group)
        steps = _run_rows(self._assembly, inputs, links, predictions, self._telemetry, active)
        for name in group:
            self._line.recv(name, Predicted)
        return steps


class PredictionFollower(Follower):
    """Follows one prediction, from the same Prepare as a training's to Finish."""

    def run(self) -> None:
        """Follows orders until Finish.

        Raises:
            SplitTrainingError: whatever ended the prediction.
        """
        self._prepare()
        manifest = _take_result(self._assembly)
        predictions = Predictions(self._assembly)
        while True:
            self._telemetry.enter(PartyState.WAITING)
            order = self._link.recv_control()
            match order:
                case Predict():
                    check_same_result(manifest, order)
                    self._predict(order, predictions)
                case Finish():
                    self._telemetry.enter(PartyState.FINISHING)
                    predictions.write(Path(self._document.output_path))
                    self._link.send_control(Finished(manifest_digest=""))
                    return
                case _:
                    raise ProtocolViolation(
                        f"message {order.type} came from the server out of turn",
                        allowed="Predict or Finish, in a run that predicts",
                        remedy="start every party of one run with the same task",
                    )

    def _predict(self, order: Predict, predictions: Predictions) -> None:
        party = self._document.party
        self._telemetry.enter(PartyState.PREDICTING, active_party=party)
        assert self._test_feed is not None  # set by _prepare
        inputs = number_steps(self._test_feed, order.first_step)
        _run_rows(self._assembly, inputs, self._links, predictions, self._telemetry, party)
        self._link.send_control(Predicted(rows=predictions.rows))


def number_steps(feed: BatchFeed, first_step: int) -> Iterator[StepInput]:
    """Yields a feed's test rows in order, each batch under a step of its own."""
    for step, given in enumerate(feed.iterate_test(step=first_step), start=first_step):
        yield replace(given, step=step)


def check_same_result(own: ResultManifest, order: Predict) -> None:
    """Refuses to predict with segments of another generation or step than the server's.

    Raises:
        ContractMismatch: with both.
    """
    given, expected = (own.generation, own.step), (order.result_generation, order.result_step)
    if given != expected:
        raise ContractMismatch(
            f"the result of {own.party} is of generation {given[0]}, step {given[1]}",
            allowed=f"generation {expected[0]}, step {expected[1]}, as the server's result",
            remedy="give every party its result of the same run",
        )


def _take_result(assembly: Assembly) -> ResultManifest:
    assert assembly.result is not None  # a run that predicts has one, or its assembly failed
    # After Prepare, which draws first weights as for a training.
    assembly.share.load_result(assembly.result)
    return assembly.result.manifest


def _run_rows(
    assembly: Assembly,
    inputs: Iterable[StepInput],
    links: Links,
    predictions: Predictions,
    telemetry: Telemetry,
    client: str,
) -> int:
    """Runs rows forward, takes in the outputs where this party gets them, and returns the number of batches."""
    count = 0
    for given in inputs:
        predictions.add(assembly.engine.predict(given, links), given.rows)
        telemetry.record_step(step=given.step, round_number=0, rows=given.rows, loss=None, client=client)
        count += 1
    return count
