"""localfly."""
