"""`hierfl deploy`: installs nodes on machines over ssh, to be run by systemd."""
