"""What would keep a federation's nodes from running here, found before they try: `hierfl doctor`.

Each check is a small function that looks at one thing and returns a finding.
"""
