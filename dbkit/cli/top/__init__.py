"""``dbkit top``."""
