"""Frameworks: each module needs its own extra, and is imported by those who use it."""
