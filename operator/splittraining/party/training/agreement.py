"""Whether a party was given what the digests in its document name: an approval named those digests, nothing else."""

from __future__ import annotations

from pathlib import Path

from splittraining.api.contract import compute_source_digest
from splittraining.api.errors import ContractMismatch
from splittraining.api.party_document import PartyDocument
from splittraining.api.party_plan import PartyPlan


def check_agreed(document: PartyDocument) -> None:
    """Refuses a document whose contract, or whose own plan, is not the one whose digest it names.

    Raises:
        ContractMismatch: with both digests.
    """
    _check_digest("contract", document.contract.compute_digest(), document.contract_digest)
    plan = PartyPlan(
        party=document.party,
        namespace=document.contract.get_party(document.party).namespace,
        data=document.data,
        warm_start=document.warm_start,
    )
    _check_digest("own plan (claims, paths and columns of its data)", plan.compute_digest(), document.plan_digest)


def check_source(document: PartyDocument) -> None:
    """Refuses source files that are not those the contract names.

    Raises:
        ContractMismatch: with both digests.
    """
    expected = document.contract.source_digest
    if not document.source_path:
        return
    files = {path.name: path.read_bytes() for path in sorted(Path(document.source_path).glob("*.py"))}
    given = compute_source_digest(files)
    if given != expected:
        raise ContractMismatch(
            f"the model's source files {sorted(files)} have digest {given}",
            allowed=f"the source that the contract names, {expected}",
            remedy="give every party the same source files",
        )


def _check_digest(what: str, computed: str, named: str) -> None:
    if computed != named:
        raise ContractMismatch(
            f"the party document's {what} has digest {computed}",
            allowed=f"the digest that it names, {named}",
            remedy="let the operator, or the local run, write the document anew",
        )
