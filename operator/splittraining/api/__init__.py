"""The documents that rooms, processes and institutions exchange, and the rules that one object must hold by itself.

Here live the SplitTraining resource as pydantic models (``spec/``, ``resource``, ``status``), its cross-field rules,
each in CEL and in Python (``rules``), what this version runs (``support``), the CRD rendered from all of it (``crd``),
the contract and its digests, the party, report and wire-plan documents, identities, conditions, errors and exit codes.

Never here: input or output of any kind (no YAML text either), decisions that need more than one object, and imports
of any other room. Only the standard library and pydantic.
"""
