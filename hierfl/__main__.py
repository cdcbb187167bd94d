"""The command line, as `python -m hierfl`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).parents[1]:
        del sys.path[0]  # the current folder: a user's cloud.py in it is not ours

    from hierfl.cli import main

    main()
