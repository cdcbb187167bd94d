"""What every node's process needs, whatever its role."""
