"""Which names of variables, settings and headers say that their value is a secret.

A name is read as words (`DB_PASSWORD`, `clientSecret`, `x-api-key`). Its last words decide:
`api_token` names a secret; `tokenizer`, `token_type`, `secret_name` and `pad_token` do not.
"""

import re
from functools import lru_cache
from typing import Literal

SecretKind = Literal["key", "password"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# What may follow the deciding word: an encoding, an environment, a number.
_SUFFIXES = frozenset(
    """
    a b b64 base base64 current default dev development encoded env hex live local main new
    old plain primary prod production raw secondary staging str string text val value
    """.split()  # noqa: SIM905
)
_PASSWORDS = ("password", "passwd", "passphrase", "passwort", "pwd")
_PASSWORD_WORDS = frozenset({"pass", "passwords", "pw", "psw"})
_KEYS = ("secret", "token", "credential", "credentials", "apikey", "secretkey", "accesskey")
_KEY_OWNERS = frozenset(
    """
    access account admin api app application auth aws cipher client consumer crypt crypto
    decryption deploy encrypt encryption hmac integration jwt licence license logged loggedin
    master nonce private project secret secure service session shared sign signing storage
    subscription webhook write
    """.split()  # noqa: SIM905
)
# A salt is a secret in settings only: WordPress' and Rails' constants in capitals.
_SALTS = re.compile(r"(?:SECURE_AUTH|AUTH|LOGGED_IN|NONCE)_SALT|(?:[A-Z]+_)?SECRET_SALT")

# Before `token`: parts of texts and grammars, markers of a page, protections of a form.
_NO_TOKENS = frozenset(
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
    """What kind of secret a name says its value is, or None."""
    words = words_of(name)
    while len(words) > 1 and (words[-1] in _SUFFIXES or words[-1].isdigit()):
        words.pop()
    if not words:
        return None
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _PASSWORD_WORDS or (last.endswith(_PASSWORDS) and not last.startswith("no")):
        return "password"
    if last.endswith(_KEYS):
        is_public = before in _NO_TOKENS or words[-3:-1] == ["client", "request"]
        return None if last == "token" and is_public else "key"
    if last == "key" and before in _KEY_OWNERS:
        return "key"
    if last.endswith("key") and last[:-3] in _KEY_OWNERS:
        return "key"
    return "key" if _SALTS.fullmatch(name) or name == "_auth" else None


def is_product_secret(name: str) -> bool:
    """Whether what stands between a product's name and a value says that the value is a secret."""
    return _PRODUCT_WORDS.search(name) is not None and _DIGEST_WORDS.search(name) is None
