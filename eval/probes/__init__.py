"""Probes: small networks that learn a task from frozen tokens, and from continuous features beside them."""
