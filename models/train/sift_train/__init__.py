"""Training of Sift's default model package: a text encoder and a causal, streaming separator."""
