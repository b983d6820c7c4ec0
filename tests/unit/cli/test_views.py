from io import StringIO

from rich.console import Console

from splittraining.api.party_document import Role
from splittraining.api.report import LinkBytes, Metric, PartyState, Report
from splittraining.cli.board import Board, update_board
from splittraining.cli.table import build_view
from splittraining.cli.views import LineView, LiveView, choose_view
from splittraining.local.events import (
    PartyExited,
    PartyFacts,
    PartyReported,
    RoundCompleted,
    RunStarted,
    RunStopping,
)
from splittraining.report.metrics import RoundRow

STARTED = RunStarted(
    name="xray",
    namespace="trial",
    topology="Vanilla",
    rounds=4,
    parties=(PartyFacts("server", Role.SERVER), PartyFacts("st-mary", Role.CLIENT)),
    folder="runs/xray",
)
ROUND = RoundCompleted(RoundRow(round=2, step=24, metrics={"train_loss": 0.25, "accuracy": 0.9}, seconds=1.5))


def report(party="st-mary", state=PartyState.TRAINING, sequence=1, **fields):
    return PartyReported(Report(party=party, generation=1, sequence=sequence, state=state, **fields))


def build_board(*events) -> Board:
    board = Board()
    for event in events:
        board = update_board(board, event)
    return board


def draw(board: Board) -> str:
    console = Console(file=StringIO(), width=120, force_terminal=False)
    console.print(build_view(board, elapsed_s=12.0))
    return console.file.getvalue()


def test_every_party_has_a_row_before_it_reports():
    drawn = draw(build_board(STARTED))
    assert "trial/xray (Vanilla)" in drawn
    assert "server" in drawn
    assert "st-mary" in drawn
    assert drawn.count("Starting") == 2


def test_a_report_fills_a_partys_row():
    link = LinkBytes(peer="server", payload_sent=2000, framing_sent=48, payload_received=1024)
    fields = {"round": 2, "rounds": 4, "step": 12, "steps": 48, "samples": 640}
    board = build_board(STARTED, report(links=(link,), metrics=(Metric(name="loss", value="0.125"),), **fields))
    row = next(line for line in draw(board).splitlines() if "st-mary" in line)
    for cell in ("client", "Training", "2/4", "12/48", "640", "0.1250", "2.0 KiB", "1.0 KiB"):
        assert cell in row
    assert board.entries["st-mary"].progress == 0.25


def test_progress_is_counted_in_rounds_while_the_steps_are_not_known():
    board = build_board(STARTED, report(round=3, rounds=4))
    assert board.entries["st-mary"].progress == 0.5


def test_the_end_of_a_process_says_more_than_its_last_report():
    board = build_board(STARTED, report(), PartyExited("st-mary", 65, "DataInvalid", "no column"))
    assert board.entries["st-mary"].state == "Failed"
    board = build_board(STARTED, report(), PartyExited("st-mary", 0, "", ""))
    assert (board.entries["st-mary"].state, board.entries["st-mary"].progress) == ("Succeeded", 1.0)


def test_the_last_round_and_a_notice_stand_under_the_table():
    drawn = draw(build_board(STARTED, ROUND, RunStopping("asked to stop")))
    assert "round 2/4: step 24, train_loss 0.2500, accuracy 0.9000 (1.5 s)" in drawn
    assert "asked to stop" in drawn


def write_lines(*events) -> list[str]:
    console = Console(file=StringIO(), width=40)
    with LineView(console, monotonic_s=lambda: 0.0) as view:
        for event in events:
            view.show(event)
    return console.file.getvalue().splitlines()


def test_lines_tell_transitions_rounds_and_ends_and_no_single_report():
    lines = write_lines(
        STARTED,
        report(state=PartyState.CONNECTING),
        report(state=PartyState.TRAINING, sequence=2),
        report(state=PartyState.WAITING, sequence=3),
        report(state=PartyState.TRAINING, sequence=4),
        report(state=PartyState.TRAINING, sequence=5),
        ROUND,
        PartyExited("st-mary", 65, "DataInvalid", "no column `finding` in train.npz [red]"),
        PartyExited("server", 0, "", ""),
        RunStopping("asked to stop"),
    )
    assert lines == [
        "    0.0s  trial/xray: Vanilla, 4 rounds, parties server, st-mary",
        "    0.0s  st-mary: Connecting",
        "    0.0s  st-mary: Training",
        "    0.0s  round 2/4: step 24, train_loss 0.2500, accuracy 0.9000 (1.5 s)",
        "    0.0s  st-mary: Failed, DataInvalid (exit code 65): no column `finding` in train.npz [red]",
        "    0.0s  server: Succeeded",
        "    0.0s  asked to stop",
    ]


def test_only_a_terminal_gets_the_live_table():
    assert isinstance(choose_view(Console(file=StringIO(), force_terminal=True)), LiveView)
    assert isinstance(choose_view(Console(file=StringIO())), LineView)


def test_the_live_table_leaves_its_last_picture_standing():
    console = Console(file=StringIO(), force_terminal=True, width=120, _environ={})
    with LiveView(console, monotonic_s=lambda: 0.0) as view:
        view.show(STARTED)
        view.show(PartyExited("st-mary", 0, "", ""))
    assert "Succeeded" in console.file.getvalue()
