"""Cases that are trained by real processes, then predicted with; and what the unsplit model says to the same rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from splittraining.local.exporter import export_results
from splittraining.local.launcher import Launcher
from splittraining.local.manifest import load_manifest
from splittraining.local.predictor import PredictionRequest, PredictionResult, run_prediction
from splittraining.local.signals import StopWish, Wakeup
from support.cases import Case
from support.local_support import build_launcher
from support.oracle import computing_exactly
from support.runs import FinishedRun, run_case


@dataclass
class Trained:
    """A case that was trained, and where."""

    case: Case
    run: FinishedRun
    manifest: Path

    def predict(
        self,
        *,
        rows: Mapping[str, str] | None = None,
        output: Path | None = None,
        launcher: Launcher | None = None,
    ) -> PredictionResult:
        with closing(Wakeup()) as wakeup:
            return run_prediction(
                PredictionRequest(
                    load_manifest(self.manifest),
                    run_folder=self.run.folder,
                    output_folder=output,
                    rows={party: Path(path) for party, path in (rows or {}).items()},
                ),
                emit=lambda _event: None,
                wakeup=wakeup,
                wish=StopWish(wakeup),
                launcher=launcher or build_launcher(),
            )

    def load_whole(self, clients: Sequence[str]) -> nn.Module:
        """Returns the unsplit model with the weights of the server and some clients, as an export has them."""
        path = self.run.folder / f"whole-{'-'.join(clients)}.safetensors"
        export_results([self.run.folder / each for each in ("server", *clients)], path, launcher=build_launcher())
        model = self.case.build_model()
        model.load_state_dict(load_file(path))
        return model.eval()

    def merge(self, clients: Sequence[str]) -> nn.Module:
        """Returns the same from the segments themselves."""
        model = self.case.build_model()
        model.load_state_dict(self.run.merge_segments(["server", *clients]))
        return model.eval()

    def list_owners(self) -> list[str]:
        """Returns the clients that own layers, where each client owns others."""
        return [client["name"] for client in self.case.spec["clients"] if self.run.read_segments(client["name"])]


def train(case: Case, folder: Path) -> Trained:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return Trained(case, run, folder / "training.yaml")


def read(result: PredictionResult, party: str) -> dict[str, np.ndarray]:
    assert result.outcome.exit_code == 0, result.outcome
    with np.load(result.folder / result.record.files[party], allow_pickle=False) as archive:
        return dict(archive)


@torch.no_grad()
def forward(model: nn.Module, inputs: Mapping[str, Tensor], batch_size: int) -> Tensor:
    """Runs the unsplit model over all rows, in the batches of a prediction."""
    return torch.cat(_run_batches(model, inputs, batch_size))


@torch.no_grad()
def forward_tasks(model: nn.Module, inputs: Mapping[str, Tensor], batch_size: int) -> dict[str, Tensor]:
    """Runs an unsplit model with several outputs in the same way."""
    batches = _run_batches(model, inputs, batch_size)
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _run_batches(model: nn.Module, inputs: Mapping[str, Tensor], batch_size: int) -> list[Any]:
    num_rows = len(next(iter(inputs.values())))
    with computing_exactly():
        return [
            model(**{name: tensor[batch] for name, tensor in inputs.items()})
            for batch in torch.arange(num_rows).split(batch_size)
        ]


def without_labels(case: Case) -> Case:
    """Returns a case whose files to predict (`new`) hold everything but labels."""
    other = copy.deepcopy(case)
    parties = [*case.spec["clients"], {"name": "server", **case.spec["server"]}]
    for data in (party["data"] for party in parties if "data" in party):
        parts = other.tables[data["volume"]["persistentVolumeClaim"]["claimName"]]
        labels = data.get("label", {}).get("columns", [])
        parts["new"] = {name: column for name, column in parts["test"].items() if name not in labels}
    return other
