"""Machines of one's own: what each one needs, brought there by ssh and run by systemd."""
