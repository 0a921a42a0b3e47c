"""How Tuple is spoken to. Knows nothing of Singer messages."""
