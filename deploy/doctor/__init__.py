"""`hierfl doctor`: checks whether nodes can run on this machine, before they are started.

Each check is a small function that examines one thing and returns a finding.
"""
