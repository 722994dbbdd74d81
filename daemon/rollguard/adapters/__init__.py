"""With what: the only HTTP client and the only disk."""
