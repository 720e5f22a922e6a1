"""Was the login refused? What a server says in another language or encoding; PostgreSQL's own translations."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

from dbkit.diagnosis.rejection import is_rejection

from ..catalogs import in_each_language, spoken

AT = 'connection to server at "db" (10.0.0.1), port 5432 failed: '


def said(text: str) -> psycopg2.OperationalError:
    return psycopg2.OperationalError(text)


@pytest.mark.parametrize(
    "answer",
    [
        "FATAL:  Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen",
        "FATAL:  Passwort-Authentifizierung f?r Benutzer >>u<< fehlgeschlagen",
        "FATAL:  la autentificación password falló para el usuario «u»",
        "FATAL:  la autentificaci?n PAM fall? para el usuario <<u>>",
        "FATAL:  authentification par mot de passe échouée pour l'utilisateur  « u »",
        "FATAL:  ?chec de l'authentification Ident pour l'utilisateur << u >>",
        'FATALE:  autenticazione con password fallita per l\'utente "u"',
        'FATAL:  autenticação do tipo senha falhou para o usuário "u"',
        'KATASTROFALNY:  autoryzacja hasłem nie powiodła się dla użytkownika "u"',
        'ÖLÜMCÜL (FATAL):  "u" kullanıcısı için şifre doğrulaması başarısız oldu',
        'FATALT:  Lösenordsautentisering misslyckades för användare "u"',
        'ВАЖНО:  пользователь "u" не прошёл проверку подлинности (по паролю)',
        'VAZhNO:  pol`zovatel` "u" ne proshyol proverku podlinnosti (po parolyu)',
        'ФАТАЛЬНО:  користувач "u" не пройшов автентифікацію за допомогою пароля',
        'FATAL`NO:  koristuvach "u" ne projshov avtentifikacziyu za dopomogoyu parolya',
        'ფატალური:  პაროლით ავთენტიფიკაცია მომხმარებლისთვის "u" ვერ მოხერხდა',
        'ფატალური:  ავთენტიკაციის შეცდომა მომხმარებლისთვის "u": ჰოსტმა ის უარყო',
        'FATAL:  ユーザー"u"のパスワード認証に失敗しました',
        '치명적오류:  사용자 "u"의 password 인증을 실패했습니다',
        '치명적오류:  "u" 사용자의 LDAP 인증을 실패했습니다.',
        '致命错误:  用户 "u" Password 认证失败',
        '致命错误:  对用户"u"的对等认证失败',
        '致命错误:  对于用户 "u"的LDAP认证失败',
    ],
)
def test_a_server_that_speaks_another_language(answer: str) -> None:
    assert is_rejection(said(AT + answer + "\n"))


@pytest.mark.parametrize(
    "answer",
    [
        "FATAL:  Datenbank »Passwort-Authentifizierung für Benutzer« existiert nicht",
        "FATAL:  la base de données « d » n'existe pas",
        "FATAL:  no existe el rol «u»",
        'ВАЖНО:  роль "u" не существует',
        'FATAL:  データベース"d"は存在しません',
        '치명적오류:  "d" 데이터베이스 없음',
        '致命错误:  角色 "u" 不存在',
    ],
)
def test_no_rejection_in_another_language(answer: str) -> None:
    assert not is_rejection(said(AT + answer + "\n"))


def test_a_libpq_that_speaks_german() -> None:
    prefix = "Verbindung zum Server auf »db« (10.0.0.1), Port 5432 fehlgeschlagen: "
    refusal = prefix + "FATAL:  Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen\n"
    assert is_rejection(said(refusal))
    assert is_rejection(said(prefix + "Timeout abgelaufen\n" + refusal))
    assert not is_rejection(said(prefix + "FATAL:  das Datenbanksystem startet\n"))


@pytest.mark.parametrize("encoding", ["koi8_r", "cp1251", "iso8859_5"])
@pytest.mark.parametrize(
    ("message", "expected"),
    [('пользователь "u" не прошёл проверку подлинности (по паролю)', True), ('база данных "d" не существует', False)],
)
def test_a_servers_own_encoding(encoding: str, message: str, expected: bool) -> None:
    """psycopg2 raises ``UnicodeDecodeError`` then (``tests/diagnosis/test_outage.py`` shows it over a wire)."""
    raw = f"{AT}ВАЖНО:  {message}\n".encode(encoding)
    with pytest.raises(UnicodeDecodeError) as caught:
        raw.decode()
    assert is_rejection(caught.value) is expected


METHODS = ("password", '"trust"', "Ident", "Peer", "GSSAPI", "SSPI", "PAM", "BSD", "LDAP", "certificate", "RADIUS")
REJECTIONS = (
    *(f'{method} authentication failed for user "%s"' for method in METHODS),
    'authentication failed for user "%s": host rejected',
    'authentication failed for user "%s": invalid authentication method',
)
OTHERS = (
    'role "%s" does not exist',
    'role "%s" is not permitted to log in',
    'no pg_hba.conf entry for host "%s", user "%s", database "%s", %s',
    'pg_hba.conf rejects connection for host "%s", user "%s", database "%s", %s',
    "connection requires a valid client certificate",
    'database "%s" does not exist',
    'database "%s" is not currently accepting connections',
    'permission denied for database "%s"',
    'too many connections for role "%s"',
    'too many connections for database "%s"',
    "sorry, too many clients already",
    "the database system is starting up",
    "the database system is shutting down",
    "terminating connection due to administrator command",
    "canceling authentication due to timeout",
)


@in_each_language
def test_postgresqls_own_translations(path: Path) -> None:
    assert [text for text in spoken(path, REJECTIONS) if not is_rejection(said(AT + text))] == []
    assert [text for text in spoken(path, OTHERS) if is_rejection(said(AT + text))] == []
