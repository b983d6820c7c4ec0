"""What `splittraining-party plan` prints and `splittraining plan` shows: who owns what, and what crosses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.wire_plan import WirePlan


class SegmentReport(Document):
    """One stage's share of the model."""

    stage: Annotated[int, Field(ge=0)]
    """Index of the stage."""
    owner: str
    """Who runs it."""
    num_parameters: Annotated[int, Field(ge=0)]
    """Elements of all parameters of the stage."""
    num_buffers: Annotated[int, Field(ge=0)]
    """Elements of all buffers of the stage."""
    weight_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of these parameters and buffers. Here and below, what two stages of one owner share counts at the first."""
    parameter_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of the parameters among them."""
    trained_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of the parameters that get gradients: used by an operation and not frozen."""
    num_trained: Annotated[int, Field(ge=0)] = 0
    """How many such parameters there are, each a tensor."""
    layers: tuple[str, ...] = ()
    """Names of the modules the stage calls, in forward order."""


class PlanReport(Document):
    """The outcome of cutting one model."""

    plan_report_version: int = 1
    segments: tuple[SegmentReport, ...]
    """One row per stage, in forward order."""
    wire_plan: WirePlan
    """What crosses."""
    wire_plan_digest: str
    """The digest to pin with `splittraining plan --pin`."""
    inexact: tuple[str, ...] = ()
    """Why this cut equals the unsplit model only up to rounding; empty when it is exact."""
    notes: tuple[str, ...] = ()
    """Things worth knowing that stop nothing, such as parameters that no stage calls."""
