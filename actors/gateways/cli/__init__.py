"""The command line: one command, one file. `app.py` says which there are."""
