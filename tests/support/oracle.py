"""What a split training must equal: the same training written by hand in plain PyTorch, knowing nothing of cuts.

The engine, its model cutting and its step are not imported here on purpose: only a reference that shares no code with
them can show that they are wrong. The order in which rows are visited is shared, because it is part of the input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from splittraining.party.data.order import compute_client_order, compute_epoch_order

JOINT = ""
"""The client name that keys the order of rows which all parties share."""

Clip = Callable[[list[nn.Parameter]], object]
"""Works on the gradients of a whole model before they are used."""

LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "CrossEntropy": nn.functional.cross_entropy,
    "BCEWithLogits": nn.functional.binary_cross_entropy_with_logits,
    "MSE": nn.functional.mse_loss,
}


@dataclass(frozen=True)
class Rows:
    """One client's training rows: inputs by the names of the forward's arguments, and labels."""

    client: str
    inputs: Mapping[str, Tensor]
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Plan:
    """The numbers of a training that its trajectory depends on."""

    batch_size: int
    rounds: int
    seed: int
    optimizer: Mapping[str, str]
    loss: str
    turn_unit: str = "Epoch"
    turn_length: int = 1
    clip: Clip = lambda _parameters: None
    rate: Callable[[int], float] = lambda _round: 1.0
    """Factor on the learning rate of a round, counted from 1; where rates are scheduled by rounds."""
    device: str = "cpu"
    """Where it is computed: every rule of these references holds on a GPU as it does on the CPU."""


@dataclass
class Trajectory:
    """Every step's loss and the weights at the end; one state dict per client where bottoms are private."""

    losses: list[float] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    """After each round: loss and accuracy over everybody's test rows."""
    state: dict[str, Tensor] = field(default_factory=dict)
    private_states: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def train_centrally(
    factory: Callable[[], nn.Module], rows: Sequence[Rows], plan: Plan, *, test_rows: Sequence[Rows] = ()
) -> Trajectory:
    """Trains the whole model on the clients' batches in visiting order, with one optimizer that is never rebuilt."""
    with computing_exactly(plan.device):
        model = build_first_model(factory, plan.seed, plan.device)
        optimizer = build_optimizer(plan.optimizer, model.parameters())
        trajectory = Trajectory()
        visits = list(iterate_visits(rows, plan))
        steps_per_round = len(visits) // plan.rounds
        for step, (_, inputs, label) in enumerate(visits, start=1):
            trajectory.losses.append(_train_step(model, [optimizer], inputs, label, plan.loss))
            if test_rows and step % steps_per_round == 0:
                trajectory.evaluations.append(evaluate_model(model, test_rows, plan.loss))
        trajectory.state = copy_to_cpu(model.state_dict())
        return trajectory


@torch.no_grad()
def evaluate_model(
    model: nn.Module,
    test_rows: Sequence[Rows],
    loss: str,
    compute: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """Returns loss and accuracy over all test rows; `compute` is the loss where it is not the plain one of its name."""
    device = str(next(model.parameters()).device)
    model.eval()
    outputs = torch.cat([model(**_move(each.inputs, device)) for each in test_rows])
    labels = torch.cat([each.label.to(device) for each in test_rows])
    model.train()
    hits = outputs.argmax(1) == labels if loss == "CrossEntropy" else (outputs > 0) == (labels > 0.5)
    return {"loss": (compute or LOSSES[loss])(outputs, labels).item(), "accuracy": hits.double().mean().item()}


@dataclass(frozen=True)
class Task:
    """One output of a model with several: its name, its loss, and the labels of the rows that are trained on."""

    name: str
    loss: str
    label: Tensor


@dataclass
class TaskTrajectory:
    """Every step's loss of each task and their sum, and the weights at the end."""

    losses: dict[str, list[float]] = field(default_factory=dict)
    sums: list[float] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)


def train_tasks(
    factory: Callable[[], nn.Module], inputs: Mapping[str, Tensor], tasks: Sequence[Task], plan: Plan
) -> TaskTrajectory:
    """Trains a model that returns a dict of outputs on the sum of the tasks' losses, as anybody would write it."""
    with computing_exactly(plan.device):
        model = build_first_model(factory, plan.seed, plan.device)
        optimizer = build_optimizer(plan.optimizer, model.parameters())
        trajectory = TaskTrajectory({task.name: [] for task in tasks})
        num_rows = len(tasks[0].label)
        labels = {task.name: task.label.to(plan.device) for task in tasks}
        for epoch in range(plan.rounds):
            order = torch.as_tensor(compute_epoch_order(plan.seed, JOINT, epoch, num_rows))
            for batch in order.split(plan.batch_size):
                optimizer.zero_grad()
                outputs = model(**_move({name: tensor[batch] for name, tensor in inputs.items()}, plan.device))
                losses = [LOSSES[task.loss](outputs[task.name], labels[task.name][batch]) for task in tasks]
                total = losses[0]
                for loss in losses[1:]:
                    total = total + loss
                total.backward()
                optimizer.step()
                trajectory.sums.append(total.item())
                for task, loss in zip(tasks, losses, strict=True):
                    trajectory.losses[task.name].append(loss.item())
        trajectory.state = copy_to_cpu(model.state_dict())
        return trajectory


def train_with_private_bottoms(
    factory: Callable[[], nn.Module], rows: Sequence[Rows], plan: Plan, *, top: Sequence[str]
) -> Trajectory:
    """Trains one shared top (the children named in `top`) over a private copy of all other layers per client."""
    with computing_exactly(plan.device):
        first = build_first_model(factory, plan.seed, plan.device)
        models = {each.client: copy.deepcopy(first) for each in rows}
        for model in models.values():
            for name in top:
                setattr(model, name, getattr(first, name))
        shared = [parameter for name in top for parameter in getattr(first, name).parameters()]
        owned = {id(parameter) for parameter in shared}
        top_optimizer = build_optimizer(plan.optimizer, shared)
        bottom_optimizers = {
            client: build_optimizer(plan.optimizer, [p for p in model.parameters() if id(p) not in owned])
            for client, model in models.items()
        }
        trajectory = Trajectory()
        for client, inputs, label in iterate_visits(rows, plan):
            optimizers = [top_optimizer, bottom_optimizers[client]]
            trajectory.losses.append(_train_step(models[client], optimizers, inputs, label, plan.loss))
        trajectory.private_states = {client: copy_to_cpu(model.state_dict()) for client, model in models.items()}
        return trajectory


def train_large_batches(
    factory: Callable[[], nn.Module],
    rows: Sequence[Rows],
    plan: Plan,
    *,
    batch: str,
    private: Sequence[str] = (),
) -> Trajectory:
    """Trains on all clients' rows of a step as one batch.

    With `private` naming children, every client runs its rows through a copy of these of its own.
    """
    with computing_exactly(plan.device):
        first = build_first_model(factory, plan.seed, plan.device)
        models = {each.client: _copy_privately(first, private) for each in rows}
        shared = [each for name, each in first.named_parameters() if name.partition(".")[0] not in private]
        optimizers = [build_optimizer(plan.optimizer, shared)]
        for model in models.values() if private else ():
            own = [each for name, each in model.named_parameters() if name.partition(".")[0] in private]
            optimizers.append(build_optimizer(plan.optimizer, own))
        trajectory = Trajectory()
        for epoch in range(plan.rounds):
            for step in iterate_unions(rows, plan, epoch, batch):
                for optimizer in optimizers:
                    optimizer.zero_grad()
                outputs = [models[client](**inputs) for client, inputs, _ in step]
                value = LOSSES[plan.loss](torch.cat(outputs), torch.cat([label for _, _, label in step]))
                value.backward()
                plan.clip(list(first.parameters()))
                for optimizer in optimizers:
                    optimizer.step()
                trajectory.losses.append(value.item())
        trajectory.state = copy_to_cpu(first.state_dict())
        trajectory.private_states = {client: copy_to_cpu(model.state_dict()) for client, model in models.items()}
        return trajectory


def train_federated(
    factory: Callable[[], nn.Module],
    rows: Sequence[Rows],
    plan: Plan,
    *,
    top: Sequence[str],
    local_epochs: int = 1,
    shared_top: bool = False,
    private_bottoms: bool = False,
) -> Trajectory:
    """Trains SplitFed: local epochs of whole models, then averages by rows of tops, bottoms or both.

    Losses are listed client by client within each round, in the order in which clients are numbered.
    """
    with computing_exactly(plan.device):
        first = build_first_model(factory, plan.seed, plan.device)
        names = [name for name, _ in first.named_children() if not (shared_top and name in top)]
        models = {each.client: _copy_privately(first, names) for each in rows}
        shared = [each for name, each in first.named_parameters() if name.partition(".")[0] not in names]
        shared_optimizers = [build_optimizer(plan.optimizer, shared)] if shared else []
        optimizers = {
            client: build_optimizer(
                plan.optimizer, [each for name, each in model.named_parameters() if name.partition(".")[0] in names]
            )
            for client, model in models.items()
        }
        averaged = [name for name in names if name in top or not private_bottoms]
        trajectory = Trajectory()
        streams = {each.client: _iterate_stream(each, plan) for each in rows}
        for round_number in range(1, plan.rounds + 1):
            order = list(range(len(rows)))
            if shared_top:
                order = [int(index) for index in compute_client_order(plan.seed, round_number, len(rows))]
            for each in [rows[index] for index in order]:
                for _ in range(local_epochs * -(-len(each) // plan.batch_size)):
                    inputs, label = next(streams[each.client])
                    used = [optimizers[each.client], *shared_optimizers]
                    for group in (group for optimizer in used for group in optimizer.param_groups):
                        group["lr"] = float(plan.optimizer["learningRate"]) * plan.rate(round_number)
                    trajectory.losses.append(
                        _train_step(models[each.client], used, inputs, label, plan.loss, plan.clip)
                    )
            _average(models, rows, averaged)
        trajectory.private_states = {client: copy_to_cpu(model.state_dict()) for client, model in models.items()}
        return trajectory


@torch.no_grad()
def _average(models: Mapping[str, nn.Module], rows: Sequence[Rows], children: Sequence[str]) -> None:
    states = [models[each.client].state_dict() for each in rows]
    total = sum(map(len, rows))
    for name, first in states[0].items():
        if name.partition(".")[0] not in children:
            continue
        if first.dtype.is_floating_point:
            mean = sum(state[name].double() * (len(each) / total) for state, each in zip(states, rows, strict=True))
            average = mean.to(first.dtype)  # type: ignore[union-attr]  # there is a client
        else:
            average = torch.stack([state[name] for state in states]).amax(0)
        for state in states:
            state[name].copy_(average)


def _copy_privately(model: nn.Module, children: Sequence[str]) -> nn.Module:
    """Returns a model with copies of the named children, and the others shared."""
    copied = copy.deepcopy(model)
    for name, child in model.named_children():
        if name not in children:
            setattr(copied, name, child)
    return copied


def iterate_unions(
    rows: Sequence[Rows], plan: Plan, epoch: int, batch: str
) -> Iterator[list[tuple[str, dict[str, Tensor], Tensor]]]:
    """Yields what each client brings to each step of an epoch; clients without a row are left out."""
    if batch == "Union":
        orders = {each.client: compute_epoch_order(plan.seed, each.client, epoch, len(each)) for each in rows}
        for start in range(0, max(map(len, rows)), plan.batch_size):
            chosen = {each.client: orders[each.client][start : start + plan.batch_size] for each in rows}
            yield [_take(each, chosen[each.client], plan.device) for each in rows if len(chosen[each.client])]
        return
    pairs = [(each.client, index) for each in rows for index in range(len(each))]
    order = compute_epoch_order(plan.seed, JOINT, epoch, len(pairs))
    for start in range(0, len(order), plan.batch_size):
        taken = [pairs[position] for position in order[start : start + plan.batch_size]]
        chosen = {each.client: [index for client, index in taken if client == each.client] for each in rows}
        yield [_take(each, chosen[each.client], plan.device) for each in rows if chosen[each.client]]


def _take(rows: Rows, indices: object, device: str) -> tuple[str, dict[str, Tensor], Tensor]:
    places = torch.as_tensor(indices)
    inputs = {name: tensor[places] for name, tensor in rows.inputs.items()}
    return rows.client, _move(inputs, device), rows.label[places].to(device)


def _move(tensors: Mapping[str, Tensor], device: str) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def iterate_visits(rows: Sequence[Rows], plan: Plan) -> Iterator[tuple[str, dict[str, Tensor], Tensor]]:
    """Yields (client, inputs, label) of every step: each round gives every client one turn, in listed order."""
    streams = {each.client: _iterate_stream(each, plan) for each in rows}
    for _ in range(plan.rounds):
        for each in rows:
            batches_per_epoch = -(-len(each) // plan.batch_size)
            batches = plan.turn_length * (batches_per_epoch if plan.turn_unit == "Epoch" else 1)
            for _ in range(batches):
                inputs, label = next(streams[each.client])
                yield each.client, inputs, label


def _iterate_stream(rows: Rows, plan: Plan) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    epoch = 0
    while True:
        order = torch.as_tensor(compute_epoch_order(plan.seed, rows.client, epoch, len(rows)))
        for batch in order.split(plan.batch_size):
            _, inputs, label = _take(rows, batch, plan.device)
            yield inputs, label
        epoch += 1


def _train_step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    inputs: Mapping[str, Tensor],
    label: Tensor,
    loss: str,
    clip: Clip = lambda _parameters: None,
) -> float:
    for optimizer in optimizers:
        optimizer.zero_grad()
    value = LOSSES[loss](model(**inputs), label)
    value.backward()
    clip(list(model.parameters()))
    for optimizer in optimizers:
        optimizer.step()
    return value.item()


def build_first_model(factory: Callable[[], nn.Module], seed: int, device: str = "cpu") -> nn.Module:
    """Builds the model that a training starts from; the weights are drawn on the CPU wherever it is trained."""
    torch.manual_seed(seed)
    return factory().train().to(device)


def copy_to_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors by name, where results are compared."""
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def build_optimizer(spec: Mapping[str, str], parameters: object) -> torch.optim.Optimizer:
    rate, decay = float(spec["learningRate"]), float(spec.get("weightDecay", "0"))
    # The plain loop (foreach=False): on a GPU PyTorch would choose a form of its own, which rounds differently.
    if spec["name"] == "SGD":
        momentum = float(spec.get("momentum", "0"))
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay, foreach=False)
    if spec["name"] == "Adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, foreach=False)
    raise ValueError(f"the oracle knows SGD and Adam, not {spec['name']!r}")


@contextmanager
def computing_exactly(device: str = "cpu") -> Iterator[None]:
    """Computes on one thread, as the parties do, and on a GPU with deterministic kernels and without TF32."""
    # Sums are split by thread: one thread is what the parties run with (numerics.intraOpThreads).
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _deterministic_kernels() if device == "cuda" else nullcontext():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _deterministic_kernels() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = False, False, True
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = before[:3]
        torch.use_deterministic_algorithms(mode=before[3])
