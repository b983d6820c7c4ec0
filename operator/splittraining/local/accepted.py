"""From a manifest file to a training that can be run: parsed, accepted, with its source files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from splittraining.api.contract import Contract, compute_source_digest
from splittraining.api.errors import SpecInvalid, SplitTrainingError
from splittraining.api.resource import SplitTraining, parse_split_training
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.usage import UsageInvalid
from splittraining.local.manifest import Manifest
from splittraining.plan.acceptance import find_problems
from splittraining.plan.contracts import build_contract
from splittraining.plan.topology import find_data_claim, find_warm_start_claim, list_parties


@dataclass(frozen=True, slots=True)
class AcceptedTraining:
    """A training that this version runs, and what its parties need from the manifest's file."""

    training: SplitTraining
    contract: Contract
    source_files: Mapping[str, bytes]
    """The model's *.py files by name; empty where the model is installed."""


class ManifestInvalid(SpecInvalid):
    """Everything that is wrong with one manifest.

    Args:
        problems: At least two errors.
    """

    def __init__(self, problems: list[SplitTrainingError]) -> None:
        super().__init__(f"the manifest has {len(problems)} problems:\n  " + "\n  ".join(map(str, problems)))
        self.problems = problems


def accept_manifest(manifest: Manifest) -> AcceptedTraining:
    """Parses a manifest, checks it against every rule and builds its contract.

    Raises:
        SplitTrainingError: the one thing that is wrong, or ManifestInvalid with all of them.
        UsageInvalid: if a source folder stands in for a ConfigMap that the manifest does not name.
    """
    training = parse_split_training(manifest.training)
    problems = find_problems(training)
    try:
        source_files = _find_source(training, manifest)
    except SpecInvalid as error:
        problems.append(error)
        source_files = {}
    if problems:
        raise problems[0] if len(problems) == 1 else ManifestInvalid(problems)
    digest = compute_source_digest(source_files) if source_files else ""
    return AcceptedTraining(training, build_contract(training, source_digest=digest), source_files)


def list_claims(training: SplitTraining) -> list[str]:
    """Returns the claims that a training's parties read, each once."""
    return list(dict.fromkeys([*list_data_claims(training), *list_warm_start_claims(training)]))


def list_data_claims(training: SplitTraining) -> list[str]:
    """Returns the claims with rows, each once."""
    return _list_claims(training, find_data_claim)


def list_warm_start_claims(training: SplitTraining) -> list[str]:
    """Returns the claims with first weights, each once."""
    return _list_claims(training, find_warm_start_claim)


def _list_claims(training: SplitTraining, find: Callable[[SplitTrainingSpec, str], str]) -> list[str]:
    claims = (find(training.spec, party) for party in list_parties(training.spec))
    return [claim for claim in dict.fromkeys(claims) if claim]


def _find_source(training: SplitTraining, manifest: Manifest) -> dict[str, bytes]:
    source = training.spec.model.source
    name = source.config_map.name if source else None
    unused = sorted(manifest.replaced_sources - {name})
    if unused:
        raise UsageInvalid(
            f"--source names {', '.join(unused)}, which is not the model's source",
            allowed=name or "nothing: the manifest names no source",
            remedy="correct the name before the equals sign",
        )
    if name is None:
        return {}
    if name not in manifest.sources:
        raise SpecInvalid(
            f"spec.model.source names the ConfigMap {name}, which {manifest.path} does not hold",
            allowed=f"ConfigMaps of the same file: {', '.join(sorted(manifest.sources)) or 'it has none'}",
            remedy=f"add the ConfigMap to the file, or give a folder with --source {name}=FOLDER",
        )
    files = {file: content for file, content in manifest.sources[name].items() if file.endswith(".py")}
    if not files:
        found = ", ".join(sorted(manifest.sources[name])) or "nothing"
        raise SpecInvalid(
            f"the ConfigMap {name} holds no *.py file (found: {found})",
            allowed="the model's Python files as keys, such as model.py",
        )
    return files
