"""What runs in the processes that the benchmark starts: one party that waits its turn, and the unsplit training.

All train in blocks, each block on a word from the benchmark, so that only one of them works at any moment and whatever
else the machine does meets them alike. All answer with the times at which their steps began.

As a program it is the unsplit training as anybody would write it: `measured.py DESCRIPTOR TRAINING`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from splittraining.party.wire.channel import Channel
from splittraining.party.wire.counters import Counters
from splittraining.party.wire.frame import FrameType, get_body, parse_header
from splittraining.party.wire.goodbye import Goodbye
from splittraining.party.wire.message import build_registry, parse_message
from splittraining.party.wire.messages import MESSAGES
from splittraining.party.wire.orders import Turn, TurnDone

GO = b"go"


class BlockwiseChannel:
    """The client's channel: holds back each order to train until the benchmark says so, and notes when steps send.

    Args:
        channel: To the server.
        benchmark: Says `GO` once per block and gets the block's times.
    """

    def __init__(self, channel: Channel, benchmark: Connection) -> None:
        self._channel = channel
        self._benchmark = benchmark
        self._registry = build_registry(MESSAGES)
        self._step = -1
        self._began_at_s: list[float] = []
        self.peer = channel.peer

    @property
    def counters(self) -> Counters:
        return self._channel.counters

    def recv(self, timeout_s: float | None = None) -> bytes:
        frame = self._channel.recv(timeout_s)
        if self._is(frame, Turn):
            assert self._benchmark.recv_bytes() == GO
        return frame

    def send(self, frame: bytes) -> None:
        header = parse_header(frame)
        if header.type is FrameType.TENSOR and header.step != self._step:
            self._step = header.step
            self._began_at_s.append(time.monotonic())
        self._channel.send(frame)
        if self._is(frame, TurnDone):
            self._benchmark.send(self._began_at_s)
            self._began_at_s = []

    def close(self, goodbye: Goodbye) -> None:
        self._channel.close(goodbye)

    def abort(self) -> None:
        self._channel.abort()

    def _is(self, frame: bytes, kind: type) -> bool:
        if parse_header(frame).type is not FrameType.CONTROL:
            return False
        return isinstance(parse_message(bytes(get_body(frame)), self._registry), kind)


def run_blockwise(document_path: str, *, debug: bool, benchmark: Connection) -> int:
    """Runs the client party, block by block."""
    from splittraining.party.main import run_party  # noqa: PLC0415 - grpc belongs into the party's own process
    from splittraining.party.training.session import Surroundings  # noqa: PLC0415

    surroundings = Surroundings(wrap_channel=lambda channel: BlockwiseChannel(channel, benchmark))
    return run_party(document_path, debug=debug, surroundings=surroundings)


@dataclass(frozen=True)
class UnsplitTraining:
    """The same training without a cut."""

    data_path: str
    batch_size: int
    block_steps: int
    seed: int
    device: str
    optimizer: dict[str, str]
    is_exact: bool
    """Whether it takes the parties' numeric switches, or PyTorch's defaults."""


def run_unsplit(training: UnsplitTraining, benchmark: Connection) -> int:
    """Trains the whole model in plain PyTorch on one thread, block by block, until the benchmark hangs up."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from splittraining.party.training.fingerprint import prepare_numerics  # noqa: PLC0415

    device = torch.device(training.device)
    if training.is_exact:
        prepare_numerics(intra_op_threads=1, device=device, exact=True)
    else:
        torch.set_num_threads(1)
    step = _build_step(training, device)
    with np.load(training.data_path) as data:
        x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    generator = torch.Generator().manual_seed(training.seed)
    while _is_told_to_go(benchmark):
        order = torch.randperm(len(x), generator=generator)
        began_at_s = []
        for rows in order.split(training.batch_size)[: training.block_steps]:
            began_at_s.append(time.monotonic())
            step(x[rows].to(device), y[rows].to(device))
        benchmark.send(began_at_s)
    return 0


def _build_step(training: UnsplitTraining, device: object) -> Callable[..., float]:
    import bench_model  # noqa: PLC0415
    import torch  # noqa: PLC0415

    torch.manual_seed(training.seed)
    model = bench_model.build().to(device).train()
    rate, momentum = float(training.optimizer["learningRate"]), float(training.optimizer["momentum"])
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)

    def step(x: torch.Tensor, y: torch.Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _is_told_to_go(benchmark: Connection) -> bool:
    try:
        return benchmark.recv_bytes() == GO
    except EOFError:
        return False


if __name__ == "__main__":
    sys.exit(run_unsplit(UnsplitTraining(**json.loads(sys.argv[2])), Connection(int(sys.argv[1]))))
