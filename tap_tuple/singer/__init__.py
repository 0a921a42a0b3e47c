"""What the SDK lacks. Knows nothing of Tuple, and could serve any tap."""
