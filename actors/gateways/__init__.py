"""The doors to the actors: a command line, and what it shows. Everything here needs the extra `cli`."""
