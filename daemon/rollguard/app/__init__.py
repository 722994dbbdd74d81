"""The composition root: what is built from what, and in which order it starts and ends."""
