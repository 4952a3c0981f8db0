"""The demo: a git history, processed as events to its authors and to its files."""
