"""adapters/fly."""
