"""Exit codes of a party and of the commands. Numbers are given once and never reused; docs/exit-codes.md has the rows.

64-74 and 80: somebody must change something (a manifest, data, code, a device, the cluster's network): trying again as
it is cannot help.
75-79: a peer or the machine went away: trying again can help, and an operator counts the tries itself.
81-84: what a command about a training in a cluster ends with, and no party ever does.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """How a party, or the ``splittraining`` command, ended."""

    OK = 0
    INTERNAL = 1  # a fault of this project: please report it
    USAGE = 2  # argparse's own number for a wrong command line
    SPEC_INVALID = 64
    DATA_INVALID = 65
    MODEL_INVALID = 66
    CONTRACT_MISMATCH = 67
    IDENTITY_REFUSED = 68
    NUMERICS = 69
    PROTOCOL = 70
    STORAGE = 71
    DEVICE_UNAVAILABLE = 72
    MODEL_CODE = 73
    NOT_SUPPORTED = 74
    PREEMPTED = 75  # sysexits' "temporary failure": a SIGTERM in the middle of a training
    PEER_LOST = 76
    PEER_FAILED = 77
    START_TIMEOUT = 78
    STALLED = 79
    NETWORK_OPEN = 80
    CLUSTER_FAILED = 81
    DEADLINE_EXCEEDED = 82
    TOO_MANY_RESTARTS = 83
    CONSENT_WITHDRAWN = 84
    INTERRUPTED = 130  # 128 + SIGINT, as shells count
    OUT_OF_MEMORY = 137  # 128 + SIGKILL: what the kernel's out-of-memory killer leaves behind


REMEDIES: dict[ExitCode, str] = {
    ExitCode.OK: "Nothing to do.",
    ExitCode.INTERNAL: "This is a fault of splittraining: run again with --debug and report the traceback.",
    ExitCode.USAGE: "See --help of the command.",
    ExitCode.SPEC_INVALID: "Change the manifest as the message says; `splittraining validate` checks it without a run.",
    ExitCode.DATA_INVALID: "Change the data, or the columns, shapes and paths that the manifest gives for it.",
    ExitCode.MODEL_INVALID: "Change the model or its cut points; `splittraining plan -f` tries a cut without a run.",
    ExitCode.CONTRACT_MISMATCH: "Give every party the same manifest and model source, and pin the wire plan anew.",
    ExitCode.IDENTITY_REFUSED: "Let the party get a fresh certificate for this run; check its clock and trust bundle.",
    ExitCode.NUMERICS: "Lower the learning rate, look for non-finite values in the data, or check the loss.",
    ExitCode.PROTOCOL: "Use the same version of splittraining at every party; if they are equal, report it.",
    ExitCode.STORAGE: "Free space on the volume, or give the party a larger one, and run again.",
    ExitCode.DEVICE_UNAVAILABLE: "Give the party a CUDA device and its driver, or say `device: CPU`.",
    ExitCode.MODEL_CODE: "The model's or the loader's own code raised: mend it at the line the message names.",
    ExitCode.NOT_SUPPORTED: "Use one of the values the message lists; README.md has the table of what works today.",
    ExitCode.PREEMPTED: "Start it again: nothing is wrong with the training.",
    ExitCode.PEER_LOST: "Look at the lost party's log: it was killed, or the network to it is gone. Then start again.",
    ExitCode.PEER_FAILED: "Another party ended with an error: its message says what to do.",
    ExitCode.START_TIMEOUT: "Look why the named parties never came, or raise startup.readyTimeoutSeconds.",
    ExitCode.STALLED: "Look at the log of the named party; raise faultTolerance.stallTimeoutSeconds for long steps.",
    ExitCode.NETWORK_OPEN: "Use a network plugin that enforces NetworkPolicies, or say network.enforcement: Preferred.",
    ExitCode.CLUSTER_FAILED: "Do what the message says: the cluster did not answer, or a right is missing.",
    ExitCode.DEADLINE_EXCEEDED: "Create it anew with a longer deadline, fewer rounds or more resources.",
    ExitCode.TOO_MANY_RESTARTS: "Look at the log and node of the party that the message names; then create it anew.",
    ExitCode.CONSENT_WITHDRAWN: "Talk to the institution's people.",
    ExitCode.INTERRUPTED: "Run the same command again with --restart.",
    ExitCode.OUT_OF_MEMORY: "Give the party more memory, or make training.batchSize smaller.",
}
