"""The rows of one party: reading, checking and ordering them.

Lives here: readers of each data format, the checks that name file, line and column, the data set in memory, the order
in which rows are visited, and the keyed digests of row ids.

Never here: models, losses, sending. Nothing in this room knows of other parties' rows, and no message of it shows the
content of a cell: rows may be patients, and messages travel to logs and status.
"""
