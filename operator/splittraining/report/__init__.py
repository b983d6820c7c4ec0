"""The final report of a training: what happened, in one Markdown page a person can file.

Here: the record of a run (a document), the rows of metrics.jsonl, the formula beside the measured bytes, and the text.
All of it is pure: text and documents in, text out. Never here: reading or writing files, clocks, processes, colors
(the live table is the command's), or anything that needs torch. Who has a finished run folder or a stored
SplitTraining can render the same page again, byte for byte.
"""
