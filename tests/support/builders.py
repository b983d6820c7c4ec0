"""SplitTrainings as manifests, made by small readable steps: ``a_training().with_client("st-mary")``.

A builder never changes: each step returns another one. Paths are written as in messages, with numbers for list items:
``spec.clients.0.data.label``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from splittraining.api.resource import SplitTraining, parse_split_training


@dataclass(frozen=True)
class TrainingBuilder:
    """A manifest under construction."""

    document: Mapping[str, Any]

    def as_manifest(self) -> dict[str, Any]:
        """Returns the manifest as plain values, as YAML would give them."""
        return copy.deepcopy(dict(self.document))

    def build(self) -> SplitTraining:
        """Returns the parsed training."""
        return parse_split_training(self.as_manifest())

    def named(self, name: str) -> TrainingBuilder:
        return self.with_value("metadata.name", name)

    def with_value(self, path: str, value: object) -> TrainingBuilder:
        """Returns a builder with one field set; objects on the way are made where there are none."""
        document = self.as_manifest()
        *way, last = path.split(".")
        place = _walk(document, way)
        if isinstance(place, list):
            place[int(last)] = copy.deepcopy(value)
        else:
            place[last] = copy.deepcopy(value)
        return TrainingBuilder(document)

    def without(self, path: str) -> TrainingBuilder:
        """Returns a builder with one field or list item left out."""
        document = self.as_manifest()
        *way, last = path.split(".")
        place = _walk(document, way)
        del place[int(last) if isinstance(place, list) else last]
        return TrainingBuilder(document)

    def with_client(self, name: str, **fields: object) -> TrainingBuilder:
        """Returns a builder with one more client; unless `data` says otherwise, it holds images and findings.

        With ``data=None`` it holds no data.
        """
        client = {"name": name, "data": make_data("image", label="finding"), **fields}
        if client["data"] is None:
            del client["data"]
        return self.with_value("spec.clients", [*self.document["spec"]["clients"], client])

    def with_server(self, **fields: object) -> TrainingBuilder:
        return self.with_value("spec.server", fields)


def a_training() -> TrainingBuilder:
    """Starts a Vanilla training without clients."""
    return TrainingBuilder(
        {
            "apiVersion": "splitlearning.dev/v1alpha1",
            "kind": "SplitTraining",
            "metadata": {"name": "chest-xray", "namespace": "trial"},
            "spec": {
                "topology": "Vanilla",
                "rounds": 20,
                "image": "registry.example/party:0.1.0",
                "model": {
                    "entrypoint": "xray.model:build",
                    "arguments": {"width": "32"},
                    "source": {"configMap": {"name": "xray-code"}},
                    "inputs": [{"name": "image", "dtype": "Float32", "shape": [1, 8, 8]}],
                    "label": {"dtype": "Int64", "shape": []},
                    "cutPoints": [{"layer": "layer1"}],
                },
                "training": {
                    "batchSize": 64,
                    "seed": 7,
                    "optimizer": {"name": "SGD", "learningRate": "0.05", "momentum": "0.9"},
                    "loss": {"name": "CrossEntropy"},
                    "evaluation": {"everyRounds": 1, "metrics": ["Accuracy", "AUC"]},
                },
                "schedule": {
                    "mode": "Sequential",
                    "sequential": {"turn": {"unit": "Epoch", "length": 1}, "handoff": "ViaServer"},
                },
                "server": {},
                "clients": [],
            },
        }
    )


def a_vanilla_training() -> TrainingBuilder:
    """Two hospitals with images and findings, and a server that gets the labels."""
    return a_training().with_client("st-mary").with_client("st-luke")


def a_u_shaped_training() -> TrainingBuilder:
    """One clinic whose labels stay at home: two cuts."""
    return (
        a_training()
        .named("biopsy")
        .with_value("spec.topology", "UShaped")
        .with_value("spec.model.cutPoints", [{"layer": "encoder"}, {"layer": "trunk"}])
        .with_client("clinic")
    )


def a_vertical_training() -> TrainingBuilder:
    """Two institutions with different columns of the same rows, and one that holds their labels."""
    two_numbers = {"dtype": "Float32", "shape": [2]}
    return (
        a_training()
        .named("modalities")
        .with_value("spec.topology", "Vertical")
        .with_value("spec.schedule", {"mode": "Joint"})
        .with_value("spec.model.inputs", [{"name": "mean", **two_numbers}, {"name": "worst", **two_numbers}])
        .with_value("spec.model.label", {"dtype": "Float32", "shape": [1]})
        .with_value("spec.model.cutPoints", [])
        .with_value("spec.training.loss", {"name": "BCEWithLogits"})
        .with_client("imaging", data=make_data("mean", ids="id"), cutPoints=[{"layer": "mean_tower"}])
        .with_client("pathology", data=make_data("worst", ids="id"), cutPoints=[{"layer": "worst_tower"}])
        .with_client("registry", data=make_data(label="malignant", ids="id"))
    )


def a_multi_task_training() -> TrainingBuilder:
    """One institution with images, and two that hold a label of the same rows each."""
    task = {"label": {"dtype": "Int64", "shape": []}, "loss": {"name": "CrossEntropy"}}
    logit = {"label": {"dtype": "Float32", "shape": [1]}, "loss": {"name": "BCEWithLogits"}}
    return (
        a_training()
        .named("follow-up")
        .with_value("spec.topology", "MultiTask")
        .with_value("spec.schedule", {"mode": "Joint"})
        .with_value("spec.model.cutPoints", [{"layer": "trunk"}])
        .without("spec.model.label")
        .without("spec.training.loss")
        .with_client("imaging", data=make_data("image", ids="id"), cutPoints=[{"layer": "stem"}])
        .with_client("oncology", data=make_data(label="finding", ids="id"))
        .with_client("surgery", data=make_data(label="operated", ids="id"))
        .with_value(
            "spec.tasks",
            [
                {"name": "finding", "output": "finding", "party": "oncology", **task},
                {"name": "operated", "output": "operated", "party": "surgery", **logit},
            ],
        )
    )


def a_multi_hop_training() -> TrainingBuilder:
    """A chain of three clients before the server: one with images and findings, two that only compute."""
    cuts = [("stem", "clinic"), ("body", "lab"), ("neck", "center")]
    return (
        a_training()
        .named("relay")
        .with_value("spec.topology", "MultiHop")
        .with_value("spec.schedule", {"mode": "Joint"})
        .with_value("spec.model.cutPoints", [{"layer": layer, "owner": owner} for layer, owner in cuts])
        .with_client("clinic", data=make_data("image", label="finding", ids="id"))
        .with_client("lab", data=None)
        .with_client("center", data=None)
    )


def an_extended_training() -> TrainingBuilder:
    """The Vertical training with a fusion center, which works on the merged activations and holds no data."""
    return (
        a_vertical_training()
        .named("fusion")
        .with_value("spec.topology", "ExtendedVanilla")
        .with_value("spec.model.cutPoints", [{"layer": "fusion", "owner": "center"}])
        .with_client("center", data=None)
    )


def make_data(*inputs: str, label: str | None = None, ids: str | None = None) -> dict[str, Any]:
    """Returns a party's `data`: one column of the same name for each input."""
    data: dict[str, Any] = {
        "format": "NPZ",
        "volume": {"persistentVolumeClaim": {"claimName": "rows"}},
        "train": {"path": "train.npz"},
        "test": {"path": "test.npz"},
    }
    if inputs:
        data["inputs"] = [{"name": name, "columns": [name]} for name in inputs]
    if label is not None:
        data["label"] = {"columns": [label]}
    if ids is not None:
        data["idColumn"] = ids
    return data


def _walk(document: dict[str, Any], way: list[str]) -> Any:
    place: Any = document
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    return place
