"""What an operator of the tests knows of itself."""

from splittraining.api.party_document import Endpoint
from splittraining.plan.manifests.settings import OperatorSettings

A_SETTINGS = OperatorSettings(
    namespace="splittraining-system",
    trust_domain="trial.example",
    party_image="registry.example/party:0.1.0",
    isolation_probe=Endpoint(host="10.96.0.1", port=443),
)
