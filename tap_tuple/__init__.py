"""Singer tap for Tuple, the remote pair programming app."""
