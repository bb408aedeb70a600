"""What outlives the engine: actions and activations in one SQLite file.

`Store` is what the API uses. Writes go through one thread that commits them in groups, reads
through a few threads with connections of their own; the event loop only waits.
"""

from orrery.engine.store.store import Store

__all__ = ["Store"]
