"""Race testing: the core's own code under chosen interleavings, and in real processes."""
