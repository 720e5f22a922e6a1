"""How the messages begin that mean "this login is refused", from PostgreSQL, the clouds and the poolers. Data only.

As in ``dbkit.diagnosis.phrases``: cut as short as stays unmistakable, so that a retouched message is still known; ``*``
is anything, ``%`` at most one word, in which a quoted name counts as one. The other way round than there, a phrase too
wide does little harm (one fetch, one more connect), and one too narrow is an outage when the token has expired.
"""

from __future__ import annotations

# PostgreSQL: whatever method pg_hba.conf asked for. A password past its VALID UNTIL is a wrong one. PgBouncer, Pgpool,
# Supavisor and Neon say the same or nearly so.
POSTGRESQL = (
    "% authentication failed",  # password, PAM, LDAP, RADIUS, GSSAPI, certificate, ...; PgBouncer's SASL, Pgpool's md5
    "authentication failed",
    "OAuth bearer authentication failed",
    "empty password",
    # German
    "%Authentifizierung für Benutzer",
    # Spanish
    "la autentificación *falló para",
    # French
    "authentification *pour l'utilisateur",
    "échec de l'authentification *pour l'utilisateur",
    # Italian
    "autenticazione *fallita per",
    # Portuguese (Brazil), Polish, Turkish
    "autenticação *falhou para",
    "autoryzacja *nie powiodła się dla",
    '"*" kullanıcısı için *doğrulaması başarısız',
    # Swedish
    "%autentisering misslyckades",
    # Russian
    'пользователь "*" не прош',
    # Ukrainian
    'користувач "*" не прой',
    # Russian, Ukrainian as a server whose own locale is C spells them
    'pol`zovatel` "*" ne prosh',
    'koristuvach "*" ne proj',
    # Georgian
    "% ავთენტიფიკაცია მომხმარებლისთვის",
    "ავთენტიკაციის შეცდომა მომხმარებლისთვის",
    # Japanese
    'ユーザー"*"*認証に失敗',
    # Korean
    '사용자 "*"의 *인증',
    '"*" 사용자*인증',
    # Chinese
    '用户*"*"*认证',
    '对用户*"*"*认证',
    '对于用户*"*"*认证',
    # Georgian, Japanese, Korean and Chinese as a server whose own locale is C spells them. It might be any message.
    "??",
    "% ??",
)

CLOUDS = (
    # Azure, Flexible and Single Server: expired, of the wrong form or audience, not of this role, of the wrong kind
    "the access token",
    "an error occurred while validating the access token",
    "Azure AD *token",
    "Microsoft Entra *token",
    # RDS Proxy ("... failed because of too many competing requests" is none). RDS itself says PAM.
    "the IAM authentication failed for",
    "the password that was provided for the role",
    # Aurora DSQL
    "unable to accept connection, access denied",
    # Google
    "Cloud SQL IAM *authentication failed",
    "AlloyDB IAM *authentication failed",
    # Databricks Lakebase, Neon
    "provided authentication token",
)

POOLERS = (
    "auth failed",  # PgBouncer's early versions
    "odyssey: %: incorrect password",
    "odyssey: %: % authentication failed",
)

SERVER = (*POSTGRESQL, *CLOUDS, *POOLERS)
"""After the severity of the server's, or the pooler's, message."""

CLIENT = ("fe_sendauth: no password supplied",)
"""At the start of what libpq says; untranslated. The password it was given is empty."""
