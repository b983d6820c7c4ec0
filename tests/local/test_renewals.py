"""Runs that last longer than their parties' certificates: real processes, mTLS, and leaves that live for seconds."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from splittraining.api.errors import IdentityRefused
from splittraining.api.exit_codes import ExitCode
from splittraining.api.identity import PartyIdentity
from splittraining.intake.errors import Unavailable
from splittraining.local.runner import Surroundings
from splittraining.pki.ca import SiteCA
from support import patient_loss
from support.cases import MOMENTUM, Case, a_multi_hop_case, a_vanilla_case
from support.runs import FinishedRun, run_case

NUM_RENEWALS = 6
LEAF_LIFE = timedelta(seconds=6)
LOSSES_PER_RENEWAL = 4

pytestmark = pytest.mark.slow  # leaves of seconds have to end


class BriefSigner:
    """Signs leaves that end soon, and opens gate n when every party has had its n-th renewal."""

    def __init__(
        self, ca: SiteCA, clock: Callable[[], datetime], *, life: timedelta, gates: Path, num_parties: int
    ) -> None:
        self._ca = ca
        self._clock = clock
        self._life = life
        self._gates = gates
        self._num_parties = num_parties
        self.ends: dict[str, list[datetime]] = defaultdict(list)

    async def sign(self, csr_pem: bytes, identity: PartyIdentity) -> bytes:
        leaf_pem = self._ca.issue_leaf(csr_pem, identity, duration=self._life, now=self._clock())
        self.ends[identity.party].append(x509.load_pem_x509_certificate(leaf_pem).not_valid_after_utc)
        if len(self.ends) == self._num_parties:
            (self._gates / str(min(map(len, self.ends.values())) - 1)).touch()
        return leaf_pem


class RefusingSigner(BriefSigner):
    """Gives one party its first leaf only, and for any other one an error."""

    def __init__(self, *args: Any, party: str, error: Exception, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._party = party
        self._error = error

    async def sign(self, csr_pem: bytes, identity: PartyIdentity) -> bytes:
        if identity.party == self._party and self.ends[identity.party]:
            raise self._error
        return await super().sign(csr_pem, identity)


def a_patient_case(case: Case, gates: Path) -> Case:
    def change(spec: dict[str, Any]) -> None:
        spec["training"]["evaluation"]["metrics"] = []
        arguments = {"gates": str(gates), "every": str(LOSSES_PER_RENEWAL)}
        spec["training"]["loss"] = {"entrypoint": "patient_loss:compute_loss", "arguments": arguments}

    case = case.changed(change)
    case.source["patient_loss.py"] = Path(patient_loss.__file__).read_text(encoding="utf-8")
    return case


def run_briefly(case: Case, folder: Path, build: Callable[..., BriefSigner], life: timedelta) -> FinishedRun:
    def build_signer(ca: SiteCA, _duration: timedelta, clock: Callable[[], datetime]) -> BriefSigner:
        return build(ca, clock, life=life, gates=folder / "gates", num_parties=len(list_parties(case)))

    return run_case(case, folder, surroundings=Surroundings(build_signer=build_signer))


def list_parties(case: Case) -> list[str]:
    return ["server", *(client["name"] for client in case.spec["clients"])]


def read_segments(run: FinishedRun, parties: Sequence[str]) -> dict[str, bytes]:
    return {party: (run.folder / party / "result" / "segments.safetensors").read_bytes() for party in parties}


@pytest.mark.parametrize(
    "case",
    [
        # Rounds of four training steps, and of three; the evaluations come on top and pass gates, too.
        pytest.param(a_vanilla_case({"north": 7, "south": 5}, optimizer=MOMENTUM, rounds=4), id="Vanilla"),
        pytest.param(
            a_multi_hop_case(label_at="clinic").changed(lambda spec: spec.update(rounds=5)), id="sealed values relayed"
        ),
    ],
)
def test_a_run_that_outlives_several_leaves_of_every_party_ends_with_the_same_bytes(case: Case, tmp_path: Path) -> None:
    parties = list_parties(case)
    gates = {name: tmp_path / name / "gates" for name in ("brief", "undisturbed")}
    for folder in gates.values():
        folder.mkdir(parents=True)
    for number in range(1000):
        (gates["undisturbed"] / str(number)).touch()
    undisturbed = run_case(a_patient_case(case, gates["undisturbed"]), tmp_path / "undisturbed")
    assert undisturbed.outcome.exit_code == ExitCode.OK, undisturbed.outcome

    signers: list[BriefSigner] = []

    def build(*args: Any, **keywords: Any) -> BriefSigner:
        signers.append(BriefSigner(*args, **keywords))
        return signers[-1]

    brief = run_briefly(a_patient_case(case, gates["brief"]), tmp_path / "brief", build, LEAF_LIFE)
    assert brief.outcome.exit_code == ExitCode.OK, brief.outcome
    assert brief.read_losses() == undisturbed.read_losses()
    assert read_segments(brief, parties) == read_segments(undisturbed, parties)

    (signer,) = signers
    finished_at = datetime.fromisoformat(brief.record.finished_at)
    for report in brief.record.reports:
        ends = signer.ends[report.party]
        assert len(ends) >= NUM_RENEWALS
        outlived = [one for one, later in itertools.pairwise(ends) if finished_at > one and later > one]
        assert len(outlived) >= 2, f"{report.party} outlived {len(outlived)} leaves"
        assert report.certificate_expiration_time in ends[NUM_RENEWALS - 1 :]
    written = [path for path in brief.folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert written == []


def without_end(case: Case) -> Case:
    return case.changed(lambda spec: spec.update(rounds=1_000_000))


@pytest.mark.parametrize("party", ["server", "north"])
def test_a_party_whose_renewal_is_refused_ends_by_name(tmp_path: Path, party: str) -> None:
    (tmp_path / "gates").mkdir()

    def build(*args: Any, **keywords: Any) -> BriefSigner:
        return RefusingSigner(*args, party=party, error=IdentityRefused("consent was withdrawn"), **keywords)

    run = run_briefly(without_end(a_vanilla_case({"north": 7, "south": 5})), tmp_path, build, timedelta(seconds=6))
    assert (run.outcome.exit_code, run.outcome.party) == (ExitCode.IDENTITY_REFUSED, party)
    assert f"the certificate of {party} is not renewed: the intake refused this party" in run.outcome.message
    assert "consent was withdrawn" in run.outcome.message


@pytest.mark.parametrize("party", ["server", "north"])
def test_a_party_that_gets_no_answer_goes_on_until_its_leaf_ends_and_then_ends_by_name(
    tmp_path: Path, party: str
) -> None:
    (tmp_path / "gates").mkdir()
    signers: list[BriefSigner] = []

    def build(*args: Any, **keywords: Any) -> BriefSigner:
        signers.append(RefusingSigner(*args, party=party, error=Unavailable("the authority is away"), **keywords))
        return signers[-1]

    run = run_briefly(without_end(a_vanilla_case({"north": 7, "south": 5})), tmp_path, build, timedelta(seconds=6))
    assert (run.outcome.exit_code, run.outcome.party) == (ExitCode.IDENTITY_REFUSED, party)
    assert f"the certificate of {party} ends at" in run.outcome.message
    assert "the authority is away" in run.outcome.message
    (ended_at,) = signers[0].ends[party]
    assert datetime.fromisoformat(run.record.finished_at) >= ended_at - timedelta(seconds=1)
