"""Kubernetes objects of a party, as plain mappings: one module per kind, each a pure function.

In go the training, its contract and what the operator knows of itself; out come manifests as they are applied, complete
with names, labels and owners. ``settings`` is what the operator knows, ``metadata`` what all objects of a party share,
``party_set`` puts the objects of one party in the order of their application.

Never here: a call to a cluster, a decision whether an object is wanted, secrets, rights of any kind.
"""
