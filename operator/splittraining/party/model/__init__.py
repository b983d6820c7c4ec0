"""The model's room: from an ordinary, unsplit ``nn.Module`` to segments with owners.

Here live: loading the user's factory (`build`), tracing its forward (`trace`, `shapes`), deciding who owns which
operation (`exits`, `ownership`), what crosses and whether it may (`crossings`, `mutation`, `exactness`), and the
segments that run (`programs`, `segment`, `randomness`). `cut.cut_model` is the door.

Never here: optimizers, losses, data files, sockets, schedules. Nothing in here knows which party it runs in, so that
every party derives the same wire plan.
"""
