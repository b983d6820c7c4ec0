"""What a party leaves on its output volume, as whoever fetches it knows it."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from splittraining.api.base import Document

RESULT_FOLDER = "result"
SEGMENTS_PATH = f"{RESULT_FOLDER}/segments.safetensors"
MANIFEST_PATH = f"{RESULT_FOLDER}/manifest.json"
PREDICTIONS_PATH = "predictions.npz"
"""What a run that predicts leaves at the party that would hold the rows' labels."""
OUTPUT_PATHS = (SEGMENTS_PATH, MANIFEST_PATH, "metrics.jsonl", "log.jsonl", "plan.json", "termination.json")
"""Everything that a party leaves, the weights first: what is small and told last is then as new as can be."""


class ResultManifest(Document):
    """What a file of trained segments belongs to."""

    # What a newer party adds is passed over: weights must stay fetchable for as long as they are kept.
    model_config = ConfigDict(extra="ignore")

    manifest_version: int = 1
    party: str
    """Whose segments these are."""
    contract_digest: str
    """The contract they were trained under."""
    generation: Annotated[int, Field(ge=1)]
    """Generation of the run."""
    step: Annotated[int, Field(ge=0)]
    """Global steps done."""
    round: Annotated[int, Field(ge=0)] = 0
    """The round after which these weights were what they are; 0 in manifests of older versions."""
    torch_version: str
    """PyTorch that wrote them."""
    tensors: dict[str, str]
    """``sha256:<hex>`` of each tensor's raw little-endian bytes, by name."""
    also_named: dict[str, str] = {}
    """Further names that tensors have in the model's state dict, where weights are tied: by each, the name above."""
    not_persistent: tuple[str, ...] = ()
    """Tensors that the model's forward keeps but its state dict leaves out."""


class ExportReport(Document):
    """What `splittraining-party export` prints: what a state dict was made of."""

    path: str
    """The file."""
    parties: tuple[str, ...]
    """Whose segments are in it."""
    is_whole: bool
    """Whether it is the whole model; else it is one party's own segments."""
    num_tensors: Annotated[int, Field(ge=0)]
    """Names in the state dict."""
    size_bytes: Annotated[int, Field(ge=0)]
    """Bytes of the file."""
    contract_digest: str
    """The contract that it was trained under."""
    generation: int
    """Generation of the run."""
    step: int
    """Global steps done."""
