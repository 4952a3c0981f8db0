"""The simulation of the event log."""
