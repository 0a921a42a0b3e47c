"""The tap's messages in real loaders, and in a strict target for tests."""
