"""The simulation of a game: cells that grow, and whose units emigrate only when they are invited."""
