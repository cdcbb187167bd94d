"""One bit per coordinate in any Flower app, on any Flower engine: two lines.

app = ClientApp(mods=[hierfl.flower.onebit()])                # client_app.py
strategy = hierfl.flower.OneBit(FedAvg(fraction_train=1.0))   # server_app.py
"""

from hierfl.flower.mod import onebit
from hierfl.flower.strategy import OneBit

__all__ = ["OneBit", "onebit"]
