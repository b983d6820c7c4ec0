"""The spec of a SplitTraining, one topic per module. A field's docstring is the text of ``kubectl explain``.

Every string, list and map is bounded; numbers that are not counts are decimal strings; names of values are CamelCase.
Defaults stand here once: the CRD takes them over, except inside list items, where the API server must not add any.

Never here: rules across fields (``api/rules``), and anything that decides.
"""
