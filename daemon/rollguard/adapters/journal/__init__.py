"""adapters/journal."""
