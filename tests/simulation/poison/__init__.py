"""The workload of events that fail again and again, and of IDs that are used again."""
