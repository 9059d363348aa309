"""Quantizers: vectors to codes and back, and what trains them."""
