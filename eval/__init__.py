"""Evaluation: metrics, each in a file of its own, and the tables made of them."""
