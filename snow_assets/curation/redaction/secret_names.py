"""Classify names of variables, settings and headers as names of secrets.

A name is split into words (`DB_PASSWORD`, `clientSecret`, `x-api-key`), and its last words decide:
`api_token` names a secret; `tokenizer`, `token_type`, `secret_name` and `pad_token` do not.
"""

import re
from functools import lru_cache
from typing import Literal

SecretKind = Literal["key", "password"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# Suffixes that are ignored: an encoding, an environment, a number.
_SUFFIXES = frozenset(
    """
    a b b64 base base64 current default dev development encoded env hex live local main new
    old plain primary prod production raw secondary staging str string text val value
    """.split()  # noqa: SIM905
)
_PASSWORDS = ("password", "passwd", "passphrase", "passwort", "pwd")
_PASSWORD_WORDS = frozenset({"pass", "passwords", "pw", "psw"})
_KEYS = ("secret", "token", "credential", "credentials", "apikey", "secretkey", "accesskey")
_KEY_QUALIFIERS = frozenset(
    """
    access account admin api app application auth aws cipher client consumer crypt crypto
    decryption deploy encrypt encryption hmac integration jwt licence license logged loggedin
    master nonce private project secret secure service session shared sign signing storage
    subscription webhook write
    """.split()  # noqa: SIM905
)
# A salt is a secret in settings only: WordPress' and Rails' constants in capitals.
_SALTS = re.compile(r"(?:SECURE_AUTH|AUTH|LOGGED_IN|NONCE)_SALT|(?:[A-Z]+_)?SECRET_SALT")

# Words before `token` in NLP, parsing, pagination and form protection.
_NON_SECRET_TOKENS = frozenset(
    """
    action begin bos change cls continuation csrf cursor decoder default delimiter end eos
    first idempotency idempotent image last lex lexer line lookahead mask max min next num pad
    page pagination paging parse parser prev previous punct resume sep skip special start stop
    sync syntax text type unk unknown xsrf
    """.split()  # noqa: SIM905
)

_PRODUCT_WORDS = re.compile(
    r"(?i)(?:key|token|secret|passw|pwd|credential|auth|pat|license|webhook|access)"
    r"(?![a-z]{3})"
)
_DIGEST_WORDS = re.compile(r"(?i)sha\d|md5|digest|checksum|hash|commit|revision|integrity")


def words_of(name: str) -> list[str]:
    """The words of a name in lower case: `clientSecret_v2` -> client, secret, v, 2."""
    return [word.lower() for word in _WORD.findall(name)]


@lru_cache(maxsize=65_536)
def secret_kind(name: str) -> SecretKind | None:
    """The kind of secret that a name denotes, or None."""
    words = words_of(name)
    while len(words) > 1 and (words[-1] in _SUFFIXES or words[-1].isdigit()):
        words.pop()
    if not words:
        return None
    last, qualifier = words[-1], words[-2] if len(words) > 1 else ""
    if last in _PASSWORD_WORDS or (last.endswith(_PASSWORDS) and not last.startswith("no")):
        return "password"
    if last.endswith(_KEYS):
        is_public = qualifier in _NON_SECRET_TOKENS or words[-3:-1] == ["client", "request"]
        return None if last == "token" and is_public else "key"
    if last == "key" and qualifier in _KEY_QUALIFIERS:
        return "key"
    if last.endswith("key") and last[:-3] in _KEY_QUALIFIERS:
        return "key"
    return "key" if _SALTS.fullmatch(name) or name == "_auth" else None


def is_product_secret(name: str) -> bool:
    """Whether the text between a product's name and a value denotes a secret."""
    return _PRODUCT_WORDS.search(name) is not None and _DIGEST_WORDS.search(name) is None
