"""Work on many machines: Ray in the place of this machine's cores, with the same results.

Stages do not import this room. They give functions and items to `darkroom.core.parallel`, which sends them to the
cluster that `pipeline.script` opened.
"""
