"""The user's project: `hierfl init` writes one, and its code is brought to the machines."""
