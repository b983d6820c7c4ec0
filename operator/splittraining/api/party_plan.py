"""The party plan: what one institution alone is asked to agree to, beside the contract that all parties see.

In it is which files of which claim are read. Nobody else sees it or its digest: claims and paths tell how an
institution keeps its data. An approval names both digests, the contract's and this one's.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from splittraining.api.base import Document, compute_digest
from splittraining.api.spec.data import DataSpec
from splittraining.api.spec.types import Namespace, PartyName
from splittraining.api.spec.warm_start import WarmStartSpec

PARTY_PLAN_VERSION = 1


class PartyPlan(Document):
    """One party's own part of a training."""

    party_plan_version: Annotated[int, Field(ge=1)] = PARTY_PLAN_VERSION
    """Version of this document's meaning."""
    party: PartyName
    """Party name."""
    namespace: Namespace
    """Where the party runs and its claims lie."""
    data: DataSpec | None = None
    """Claim, paths, format and columns of its rows; absent where it holds none."""
    warm_start: WarmStartSpec | None = None
    """Claim and path of the weights that its layers start from, where they come from a file."""

    def as_agreed(self) -> dict[str, Any]:
        """Returns the JSON object that the digest binds: unset defaults left out, the version always there."""
        return {"partyPlanVersion": self.party_plan_version, **self.as_json_object()}

    def compute_digest(self) -> str:
        """Returns the digest that an approval of this party names."""
        return compute_digest(self.as_agreed())
