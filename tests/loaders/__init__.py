"""What becomes of the tap's messages in real loaders, and in a strict one of the tests' own."""
