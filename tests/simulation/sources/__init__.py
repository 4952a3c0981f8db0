"""The workloads of `eventbox.sources`: leadership that moves, feeds that are taken in, and the event store."""
