"""Turns published checkpoints of language-queried separators into Sift's model packages."""
