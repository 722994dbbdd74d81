"""When: asyncio. Knows ports and the core only; opens no file, no socket, and logs nothing itself.

Everything that happens here is an event; the record writes it to the journal and tells whoever listens.
"""
