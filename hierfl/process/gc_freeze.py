"""What Python's garbage collector need not look at again and again."""

from __future__ import annotations

import gc


def settle() -> None:
    """Exempt all objects that there are from collection: to be called when a process is set up.

    They live as long as the process: two hundred thousand of them, modules above all, in a node
    that has imported torch and Flower. A full collection goes through all in vain, takes a tenth
    of a second, and a whole cluster waits for the node where it happens.
    """
    gc.collect()
    gc.freeze()
