"""Chaos: an application and its emulators as processes, which are killed at random; then the promises are checked."""
