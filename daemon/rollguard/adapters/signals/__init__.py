"""adapters/signals."""
