"""A deterministic simulation: the real library, in many processes over a network that fails; one seed decides all."""
