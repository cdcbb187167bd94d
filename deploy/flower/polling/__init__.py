"""A whole run over Flower's own messages, where no link can be opened."""
