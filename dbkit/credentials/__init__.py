"""Passwords and tokens to log in with."""
