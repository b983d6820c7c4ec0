"""The `splittraining` command (run, validate, plan, report) and its kubectl plugin (status, logs, fetch).

Here: arguments, what a person sees (a live table on a terminal, plain lines elsewhere), messages and exit codes. The
work is done by the rooms below; a command reads its arguments, calls one function and shows the result. What only a
person at a cluster needs is here too: a training's picture, pods' logs, the copy of a volume. Importing this room is
fast: each command's module is imported only when it is used, and torch never is (a test watches it).
Never here: decisions about a training, processes, keys, or a second way to do what `local` does.
"""
