"""What a user would pick instead, on the same job: `python -m benchmarks.peers`."""

EXIT_MISSING = 69
"""The exit code where this machine has not got what it takes: EX_UNAVAILABLE of sysexits.h."""
