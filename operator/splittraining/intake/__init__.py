"""The HTTPS door to which parties talk: certificates in exchange for a credential, and reports.

Lives here: `POST /v1/certificate` (request in, leaf and trust bundle out), `POST /v1/report`, the authenticators that
say who is asking (a one-time file token, a projected service-account token, a leaf), and the small protocols behind the
door: `Directory` (who may have which leaf), `Signer`, and the callback that takes reports.

Never lives here: what answers those protocols for a cluster or for a local run (their composition roots do), any
Kubernetes call, any private key but the door's own.
"""
