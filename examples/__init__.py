"""Applications built on dbkit, to read and to copy from."""
