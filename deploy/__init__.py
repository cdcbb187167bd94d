"""How a federation gets onto its machines."""
