"""A real Kubernetes for tests, made on the spot: one node in Linux namespaces of its own, or only its API server.

Lives here: building the binaries from pinned Go modules (``binaries``), a node (``node``, from ``namespaces``,
``certificates``, ``components``, ``images``), the same suite's wiring for kind (``kind``) and the commands behind
``make cluster-up``, ``cluster-down`` and ``cluster-status`` (``__main__``).

Never lives here: the operator, its chart, tests (``tests/e2e``, ``tests/api``), or anything that a user's cluster
needs. Nothing here touches a cluster that it did not make.
"""
