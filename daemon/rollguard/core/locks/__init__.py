"""Reasons not to act, each a function from the case and now to a sentence, or None while it does not stand."""
