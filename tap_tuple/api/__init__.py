"""Client for Tuple's usage API. It doesn't know about Singer messages."""
