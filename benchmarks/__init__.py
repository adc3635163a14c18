"""How fast Toolwire is, beside floors that run in the same process: `python -m benchmarks --help`."""
