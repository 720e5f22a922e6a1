"""Doors that stay shut: TLS, files, SQL that is put together, settings, and what errors show."""
