"""What docs/topologies.md says beside its pictures."""

from __future__ import annotations

from dataclasses import dataclass

from splittraining.api.spec.split_training import Topology
from splittraining.report.markdown import render_table


@dataclass(frozen=True, slots=True)
class Text:
    """What a page says of one topology."""

    what: str
    when: str
    reveals: tuple[str, str]


INTRODUCTION = """\
# Topologies and schedules

<!-- Written by `make docs` from docs/render_topologies.py and docs/topology_texts.py: change them, not this page. -->

A *topology* says who runs which part of the model, a *schedule* who takes part in a step and when. Both are presets of
one thing: a graph of segments, each with an owner. The pictures are drawn from plans of small models. A box is a party,
in it are its layers; a plain arrow is a value that crosses, a dashed one its gradient coming back, a thick one labels.
**What is not drawn does not cross**, but for hand-offs and what one client averages for others. `splittraining plan -f
training.yaml --diagram` draws your own model.

What activations reveal, whoever gets them: [what the server can learn](what-the-server-can-learn.md)."""


TEXTS = {
    Topology.VANILLA: Text(
        "Every client runs the layers up to the cut on its own rows; the server runs the rest and computes the loss.",
        "institutions hold the same columns of different rows, and the server may see the labels.",
        (
            "The server sees every row's activations and label.",
            "Clients see their own cut gradients; each other's weights only through a hand-off or an average.",
        ),
    ),
    Topology.U_SHAPED: Text(
        "The server runs the middle; the first layers, the last ones, labels and loss stay at the client.",
        "labels are as private as the rows, and one more pair of values per row may cross.",
        (
            "The server sees every row's activations, and gradients from which labels can often be guessed.",
            "Clients see what they see in Vanilla, and the server's output for their own rows.",
        ),
    ),
    Topology.VERTICAL: Text(
        "Each client holds other columns of the same rows and runs a branch; the server merges the branches and runs"
        " the trunk; the label holder, a client or the server, computes the loss.",
        "institutions know different things about the same people.",
        (
            "The server sees each branch's activations of every row, and which of them belong to one row.",
            "The label holder sees the model's output; the other clients see their own cut gradients only.",
        ),
    ),
    Topology.EXTENDED_VANILLA: Text(
        "As Vertical, but a further client merges the branches and runs the layers up to a second cut.",
        "the server must not see the branches' activations one by one.",
        (
            "The merging client sees each branch's activations; the server relays them sealed and cannot read them.",
            "The server sees what the merging client returns, and the label if it holds it.",
        ),
    ),
    Topology.MULTI_HOP: Text(
        "A chain: each owner runs a few layers and passes the result on; gradients walk back the same way.",
        "no party but the first may see activations near the data, or no party may hold much of the model.",
        (
            "Each owner sees the activations of the one before it; the server sees the last ones.",
            "One slow owner holds up every step, and an owner that colludes with the first undoes the chain.",
        ),
    ),
    Topology.MULTI_TASK: Text(
        "One or several branches, a trunk at the server, and one output per label party: a client with labels and a"
        " head of its own. The losses are summed.",
        "several institutions have labels for different questions about the same rows.",
        (
            "The server sees every branch's activations and the gradient of each task, but no label.",
            "Each label party sees the trunk's output for every row, and nobody else's labels.",
        ),
    ),
}

_IN_TURNS, _ONE_PASS, _OWN_ROWS = "every client one turn", "one pass over the rows", "2·(p/K)·q"

_SCHEDULES = (
    (
        "Sequential, hand-off ViaServer",
        _IN_TURNS,
        f"{_OWN_ROWS} + 2·η·N",
        "the next client gets the weights; the server relays them sealed and learns their size",
    ),
    (
        "Sequential, hand-off PeerToPeer",
        _IN_TURNS,
        f"{_OWN_ROWS} + 2·η·N",
        "the next client gets the weights; the server learns nothing of them",
    ),
    ("Sequential, hand-off None", _IN_TURNS, _OWN_ROWS, "nothing: every client keeps its own first layers"),
    (
        "Joint",
        "one pass over the aligned rows",
        "2·p·q of its own links",
        "that its rows are the others' rows, by keyed digests",
    ),
    (
        "Parallel, SumGradients",
        _ONE_PASS,
        f"{_OWN_ROWS} + 2·η·N a step",
        "the party that sums sees each client's gradients",
    ),
    ("Parallel, Private", _ONE_PASS, _OWN_ROWS, "nothing"),
    (
        "SplitFed v1, v2",
        "local epochs, then an average",
        f"{_OWN_ROWS} + 2·η·N",
        "the party that averages sees each client's weights",
    ),
    ("SplitFed v3", "local epochs", _OWN_ROWS, "nothing"),
)

_HEADER = ("schedule", "a round", "moves per client", "what it reveals beside the topology")

SCHEDULES = f"""\
## Schedules

Joint is for Vertical, ExtendedVanilla, MultiHop and MultiTask, the others are for Vanilla and UShaped. K clients, p
training rows in all, q numbers a row at the cuts, N parameters, η of them the client's. Numbers move per client and
round; `splittraining plan` fills them in, with labels, evaluation and optimizer state apart, and
[these are the bytes](bytes.md) that trainings of every schedule counted.

{render_table(_HEADER, _SCHEDULES)}

For comparison: federated averaging moves 2·N per client and round, large-batch synchronous SGD 2·N per step. Splitting
with a hand-off moves fewer bytes than federated averaging exactly when p·q < K·N·(1 − η/2): many clients or a large
model favor splitting, many rows or a wide cut do not.
"""
