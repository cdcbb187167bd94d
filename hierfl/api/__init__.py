"""What a program or a notebook uses to run federations: the same runs as from a shell."""
