"""What the tests of logins share."""

from __future__ import annotations

AZURE = {"DB_HOST": "prod", "DB_USER": "app", "IDENTITY_ENABLED": "True", "DB_ALLOW_INSECURE_TOKEN": "on"}
TOKEN = {"credential": "gcp", "credential_scope": "scope", "allow_insecure_token": True}


def proof(settings):
    """What is used to log in: the credential, or the password."""
    return settings.credential or (settings.password and settings.password.reveal())
