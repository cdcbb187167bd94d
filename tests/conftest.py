"""Settings for all tests; before any of them imports NumPy, torch or Flower."""

import os

from hypothesis import settings

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

settings.register_profile("hierfl", deadline=None)
settings.load_profile("hierfl")
