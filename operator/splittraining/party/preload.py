"""Everything of a party that may be imported before a fork: a fork server imports it once for all parties of a run.

Not gRPC, which must not have been imported, let alone started, before a fork; nothing here may touch CUDA or leave a
thread. What is missing here (`main`, `session`) each party imports for itself, in a few hundredths of a second.
"""

from splittraining.party.lasting import ending_with_the_parent, without_collections

with ending_with_the_parent(), without_collections():
    import torch
    import torch._dynamo  # what the first optimizer would import, for seconds, in every party

    from splittraining.party import endings, intake_client, logs, renewal
    from splittraining.party.training import agreement, assembly, conductor, consent, export, relays, telemetry
    from splittraining.party.training.rounds import parallel_client, split_fed_client
    from splittraining.party.wire import isolation, probe, relayed, tls
    from splittraining.party.wire import renewal as wire_renewal

__all__ = [
    "agreement",
    "assembly",
    "conductor",
    "consent",
    "endings",
    "export",
    "intake_client",
    "isolation",
    "logs",
    "parallel_client",
    "probe",
    "relayed",
    "relays",
    "renewal",
    "split_fed_client",
    "telemetry",
    "tls",
    "torch",
    "wire_renewal",
]
