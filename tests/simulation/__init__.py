"""A simulator: many calls of one client over a simulated network, clock and scheduler."""
