"""`hierfl init`: the files of a new federation."""
