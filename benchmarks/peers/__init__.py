"""What a user would pick instead, on the same job: `python -m benchmarks.peers`."""
