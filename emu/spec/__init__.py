"""The provider step by step: the executable specification, and the core held against it."""
