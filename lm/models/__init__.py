"""Reference language models of a codec's tokens: small, readable, trained by `codec train recipes/lm_*.yaml`."""
