"""See `deploy.loadtest.node`."""

from __future__ import annotations

import sys

from deploy.loadtest.node import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
