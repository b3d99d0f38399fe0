from pathlib import Path

import pytest

from snow_assets.curation.redaction.redact import redact

CASES = Path(__file__).parents[1] / "cases"

# Assembled, so that no scanner takes this file for a leak.
KEY_BLOCK = "-----BEGIN RSA {0}-----\n{1}\n-----END RSA {0}-----".format(
    "PRIVATE KEY", "MIIEpAIBAAKCAQEAx5bR" * 8
)
TOKENS = [
    "AKIA" + "IOSFODNN7QWERTYU",
    "gh" + "p_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6",
    "xo" + "xb-123456789012-abcdefABCDEF0123456789",
    "sk" + "_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "AI" + "za" + "SyD3b9K2mQ7wX4cV8nL1pR6tY5uE0iO2aSd",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N",
    "h" + "f_" + "qZkdTrWmEaLxUvBnYcJsGoHiPfQwRtKzMd",
]


@pytest.mark.parametrize("secret", [KEY_BLOCK, *TOKENS], ids=lambda secret: secret[:6])
def test_a_planted_key_is_replaced_and_counted(secret: str) -> None:
    found = redact(f"value = '{secret}'\n")
    assert found.text == "value = '<KEY>'\n"
    assert (found.num_keys, found.num_emails, found.num_passwords) == (1, 0, 0)


def test_a_random_string_is_a_key_where_its_name_says_so() -> None:
    random = "q8Zr4TkX9wLm2VbN7sJd"
    assert redact(f'api_key = "{random}"').text == 'api_key = "<KEY>"'
    assert redact(f'"client_secret": "{random}"').text == '"client_secret": "<KEY>"'
    assert redact(f'checksum = "{random}"').num_keys == 0


def test_passwords_in_urls_and_assignments_are_replaced() -> None:
    assert redact("postgres://bob:Hunter2x@db.acme.io/x").text == (
        "postgres://bob:<PASSWORD>@db.acme.io/x"
    )
    assert redact("password = 'tR7!kq9ZxP'").text == "password = '<PASSWORD>'"
    assert redact("password = 'tR7!kq9ZxP'").num_passwords == 1
    for drawn in ("YQAjqYjRHHagtM", "k3v9xq27mz4p"):
        assert redact(f"password = '{drawn}'").text == "password = '<PASSWORD>'"
    for named in ("getPasswordFor", "userAccountName", "correcthorse", "wrong_password"):
        assert redact(f"password = '{named}'").num_passwords == 0


def test_an_address_of_a_person_is_replaced() -> None:
    found = redact("# by Jo Doe <jo.doe@gmx.de>, joe@corp.co.uk\n")
    assert found.text == "# by Jo Doe <<EMAIL>>, <EMAIL>\n"
    assert found.num_emails == 2


@pytest.mark.parametrize(
    "kept",
    [
        "user@example.com",
        "a@b.invalid",
        "root@db.local",
        "git@github.com:acme/x.git",
        "noreply@acme.org",
        "weights@x.reshape(3)",
        "icon@2x.png",
        "@app.route('/x')",
        "token = os.environ['API_TOKEN']",
        "password = 'your-password-here'",
        "secret_name = 'projects/acme/secrets/1'",
        "postgres://user:pass@host/db",
        "access_key = 'AbstractAccessKeyProvider'",
        "http://10.0.0.1:8080/x",
    ],
)
def test_what_is_no_secret_stays(kept: str) -> None:
    assert redact(kept).text == kept


def test_a_redacted_text_is_left_as_it_is() -> None:
    text = "\n".join([KEY_BLOCK, *TOKENS, "jo@gmx.de", "password='tR7!kq9ZxP'", "x://a:B3b4@c.de"])
    once = redact(text)
    twice = redact(once.text)
    assert once.num_keys == 8
    assert twice.text == once.text
    assert twice.num_keys == twice.num_emails == twice.num_passwords == 0


def case(name: str) -> str:
    """A file of the cases, redacted."""
    return redact((CASES / name).read_text()).text


@pytest.mark.parametrize(
    "name",
    [
        "35-kotlin-qualified-this/Account.kt",
        "35-kotlin-qualified-this/icons.js",
        "36-tokenizer-names/load.py",
        "37-pem-markers-in-code/keys.py",
        "43-right-secrets/keep.py",
    ],
)
def test_code_without_a_secret_stays_as_it_is(name: str) -> None:
    assert case(name) == (CASES / name).read_text()


def test_passwords_and_salts_of_php_constants_are_replaced() -> None:
    assert case("38-php-define/config.php") == (
        "<?php\ndefine('DB_PASSWORD', '<PASSWORD>');\ndefine( 'AUTH_KEY', '<KEY>' );\n"
        "class Db {\n    const DB_PWD = '<PASSWORD>';\n}\n"
    )
    assert case("38-php-define/control.php").count("<PASSWORD>") == 1


def test_secrets_of_a_shell_script_are_replaced_without_quotes() -> None:
    assert case("40-unquoted-values/deploy.sh") == (
        "#!/bin/sh\nexport AWS_SECRET_ACCESS_KEY=<KEY>\nexport API_TOKEN=<KEY>\n"
        "DB_PASSWORD=<PASSWORD>\n"
        'curl -H "Authorization: Bearer <KEY>" -u admin:<PASSWORD> https://api.acme.io/\n'
        "curl -d hi <KEY>\n"
    )
    assert case("40-unquoted-values/control.sh") == 'export API_TOKEN="<KEY>"\n'


def test_addresses_below_newer_domains_are_replaced() -> None:
    assert case("42-mail-other-domains/team.py") == (
        "# Author: Jane Roe <<EMAIL>>\n# Maintainer: <EMAIL>, <EMAIL>, <EMAIL>\nTEAM = 4\n"
    )


def test_tokens_of_the_control_group_are_replaced() -> None:
    assert case("43-right-secrets/take.py") == "".join(f'{name} = "<KEY>"\n' for name in "abcd")


BODY = "\n".join(["MIIEpAIBAAKCAQEAx5bRQ7fWk2Zt9LsJmVdN8cXyUoPq3rGh4iEaTnKwYlBvCzSd"] * 6)
BEGIN, END = (f"-----{edge} {'PRIVATE'} KEY-----" for edge in ("BEGIN", "END"))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"{BEGIN}\n{BODY}\n{END}\n", "<KEY>\n"),
        (f"{BEGIN}\r\n{BODY}\r\n{END}", "<KEY>"),
        (f"# {BEGIN}\n# {BODY[:64]}\n# {END}\n", "# <KEY>\n"),
        (
            f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233\n\n{BODY}\n{END}",
            "<KEY>",
        ),
        ('{"k": "' + f"{BEGIN}\n{BODY}\n{END}".replace("\n", "\\n") + '"}', '{"k": "<KEY>"}'),
        (
            f"'{BEGIN}\\n' +\n'{BODY[:64]}\\n' +\n'{BODY[65:129]}\\n' +\n\"{END}\"",
            f"'{BEGIN}\\n' +\n'<KEY>\\n' +\n'\\n' +\n\"{END}\"",
        ),
        (
            f"-----BEGIN PGP {'PRIVATE'} KEY BLOCK-----\nComment: GPG - https://a.b/c\n\n{BODY}\n=Ab1d\n"
            f"-----END PGP {'PRIVATE'} KEY BLOCK-----",
            "<KEY>",
        ),
        (
            f"PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 6\n{BODY}\nPrivate-MAC: 00\n",
            "PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 6\n<KEY>Private-MAC: 00\n",
        ),
    ],
    ids=["file", "crlf", "comment", "rfc1421", "escaped", "literals", "pgp", "putty"],
)
def test_a_private_key_is_replaced_in_every_writing(text: str, redacted: str) -> None:
    assert redact(text).text == redacted
    assert redact(text).num_keys == 1


@pytest.mark.parametrize(
    "text",
    [
        f'BEGIN = "{BEGIN}"\nEND = "{END}"\n',
        f'if text.startswith("{BEGIN}"):\n    return text.split("{END}")[0]\n',
        f"The file has a line {BEGIN} and after the key itself a line {END} as RFC 7468 says.",
        f"{BEGIN}\n...\n{END}",
    ],
)
def test_markers_without_key_material_stay(text: str) -> None:
    assert redact(text).text == text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("export API_TOKEN=%s", "export API_TOKEN=<KEY>"),
        ("set API_TOKEN=%s\r\n", "set API_TOKEN=<KEY>\r\n"),
        ("setenv API_TOKEN %s", "setenv API_TOKEN <KEY>"),
        ("ENV API_TOKEN %s", "ENV API_TOKEN <KEY>"),
        ("ENV API_TOKEN=%s \\", "ENV API_TOKEN=<KEY> \\"),
        ("api_token: %s\n", "api_token: <KEY>\n"),
        ("service.api-token = %s", "service.api-token = <KEY>"),
        ("deploy --token %s now", "deploy --token <KEY> now"),
        ('deploy --token "%s" now', 'deploy --token "<KEY>" now'),
        ("token = 'acme-service-api-%s'", "token = '<KEY>'"),
        ("deploy --token=%s", "deploy --token=<KEY>"),
        ("const apiToken: string = '%s';", "const apiToken: string = '<KEY>';"),
        ('os.environ.setdefault("API_TOKEN", "%s")', 'os.environ.setdefault("API_TOKEN", "<KEY>")'),
        ('{\\"apiToken\\": \\"%s\\"}', '{\\"apiToken\\": \\"<KEY>\\"}'),
        ("<apiToken>%s</apiToken>", "<apiToken><KEY></apiToken>"),
        ("https://a.io/x?access_token=%s&n=1", "https://a.io/x?access_token=<KEY>&n=1"),
        ("X-Api-Key: %s", "X-Api-Key: <KEY>"),
        ('<add key="ApiToken" value="%s"/>', '<add key="ApiToken" value="<KEY>"/>'),
        ("- name: API_TOKEN\n      value: %s\n", "- name: API_TOKEN\n      value: <KEY>\n"),
        ('"API_TOKEN",\n  "value": "%s"', '"API_TOKEN",\n  "value": "<KEY>"'),
        ("//npm.acme.io/:_auth=%s", "//npm.acme.io/:_auth=<KEY>"),
        ("//npm.acme.io/:_authToken=%s", "//npm.acme.io/:_authToken=<KEY>"),
        ("secret_key_base: %s", "secret_key_base: <KEY>"),
        ("APP_KEY=base64:%s=", "APP_KEY=<KEY>"),
        ("JWT_SECRET=%s", "JWT_SECRET=<KEY>"),
        ("Authorization: Bearer %s", "Authorization: Bearer <KEY>"),
        ("'Authorization': 'Token %s'", "'Authorization': 'Token <KEY>'"),
    ],
)
def test_a_key_is_replaced_in_every_form_of_assignment(text: str, redacted: str) -> None:
    assert redact(text.replace("%s", "q8Zr4TkX9wLm2VbN7sJd5Hf3")).text == redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("DB_PASSWORD=Tr0ub4dor9xK\n", "DB_PASSWORD=<PASSWORD>\n"),
        ("password: Tr0ub4dor9xK\n", "password: <PASSWORD>\n"),
        ("db.password=Tr0ub4dor9xK", "db.password=<PASSWORD>"),
        ("Server=a;User=b;Password=Tr0ub4dor9xK;", "Server=a;User=b;Password=<PASSWORD>;"),
        ('ds.setPassword("Tr0ub4dor9xK");', 'ds.setPassword("<PASSWORD>");'),
        ("Password=P@ssw0rd!23;", "Password=<PASSWORD>;"),
        ("const DB_PASS = 'Tr0ub4dor9xK'", "const DB_PASS = '<PASSWORD>'"),
        (
            "machine a.io login bob password Tr0ub4dor9xK",
            "machine a.io login bob password <PASSWORD>",
        ),
        ('<p name="password" value="Tr0ub4dor9xK"/>', '<p name="password" value="<PASSWORD>"/>'),
        ("redis://:Tr0ub4dor9xK@cache.acme.io/0", "redis://:<PASSWORD>@cache.acme.io/0"),
        ("curl --user bob:Tr0ub4dor9xK https://a.io", "curl --user bob:<PASSWORD> https://a.io"),
        ("Authorization: Basic Ym9iOlRyMHViNGRvcjl4Sw==", "Authorization: Basic <PASSWORD>"),
    ],
)
def test_a_password_is_replaced_in_every_form(text: str, redacted: str) -> None:
    assert redact(text).text == redacted
    assert redact(text).num_passwords == 1


def test_keys_of_frameworks_with_punctuation_are_replaced() -> None:
    django = "django-insecure-8#kv@x!q2^m9$z&w7(r4)t6=y1+u3-p5*o0e"
    assert redact(f"SECRET_KEY = '{django}'").text == "SECRET_KEY = '<KEY>'"
    salt = "9#_z&|W^~ q2;Fk)L7mX/c4V<y8>T{n1}[B]0pR:5hJ-6gD+3s=A%uE*Kw!v?,Z@"
    assert redact(f"define('NONCE_SALT',  '{salt}');").text == "define('NONCE_SALT',  '<KEY>');"
    phrase = "define('NONCE_SALT', 'put your unique phrase here, please, and do so soon');"
    assert redact(phrase).text == phrase


def test_webhooks_are_replaced() -> None:
    discord = "https://discord.com/api/webhooks/123456789012345678/" + "aB3dE6gH9j" * 6 + "K1mN5p8q"
    assert redact(discord).text == "https://discord.com/api/webhooks/<KEY>"
    telegram = "https://api.telegram.org/bot123456789:AA" + "hT9_kQ-w3z" * 3 + "abc/getMe"
    assert redact(telegram).text == "https://api.telegram.org/bot<KEY>/getMe"
    guid = "1d2129a1-3d38-460a-9756-e5b91fddb951"
    teams = (
        f"https://outlook.office.com/webhook/{guid}@{guid}/IncomingWebhook/{'9f8a7b6c' * 4}/{guid}"
    )
    assert redact(teams).text == "https://outlook.office.com/webhook/<KEY>"
    slack = "https://hooks.slack.com/services/" + "T0A1B2C3D/B9Z8Y7X6W/qWeRtYuIoPaSdFgHjKlZxCvB"
    assert redact(slack).text == "<KEY>"


@pytest.mark.parametrize(
    "kept",
    [
        'token = "meta-llama/Llama-3.1-8B-Instruct"',
        'secret = "projects/42a/secrets/db-main-v2b"',
        '"spdx_license_key": "LicenseRef-scancode-x11-x11r5"',
        '"license_key": "ms-direct3d-d3d120n7-1.1.0"',
        '"license_key": "w3c-docs-20021231"',
        "password: Uint8Array",
        "token = getAccessToken2FromRequest",
        "PrivateKey = rust_openssl.hpke.MLKEM768X25519PrivateKey",
        "next_page_token = 'q8Zr4TkX9wLm2VbN7sJd'",
        "token_type = 'q8Zr4TkX9wLm2VbN7sJd'",
        "secret = 0x9f8a7b6c5d4e3f2a1b0c9d8e",
        "key = 'q8Zr4TkX9wLm2VbN7sJd'",
        "password = ${DB_PASSWORD_2024}",
        "API_KEY = %(api_key_v2_2024)s",
        "Basic authentication",
        "Authorization: Basic bWU6cGFzcw==",  # me:pass
        "'service_account_token': 'V1ServiceAccountTokenProjection'",
        '"clientRequestToken": "1d2129a1-3d38-460a-9756-e5b91fddb951"',
        "cvs://:pserver:anoncvs@cvs.acme.org:/cvs/x",
        "a digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        'travis = "9f86d081884c7d659a2fea"',
        "base64 = 'AAAA/EAAAAB1c2VyAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh'",
    ],
)
def test_code_that_looks_like_a_secret_stays(kept: str) -> None:
    assert redact(kept).text == kept


@pytest.mark.parametrize(
    "kept",
    [
        "this@Account.name = name",
        "y = A@A.mT",
        'b"ssh-ed25519-cert-v01@openssh.com"',
        'kex = "curve25519-sha256@libssh.org"',
        'b"-cert-v01@openssh.com"',
        "the transformation pass (`runOnModule`)",
        "y = x@self.head.id",
        "y = self.weight@x.me",
        "case all@Tree.Bar => all",
        "f s@State.Box = s",
        "run m@Model.IO",
        "super@Outer.info",
        "w@x.to(device)",
        "npm i react@next.js @types/node@20.1.0",
        "pip install git+ssh://git@github.com/acme/x.git@v1.2",
        "systemctl start getty@tty1.service multi@user.target",
        "h = W@x.at[0]",
        "icon@2x.app",
        "postgres://user:pass@db.acme.io/x",
    ],
)
def test_code_that_looks_like_an_address_stays(kept: str) -> None:
    assert redact(kept).text == kept


@pytest.mark.parametrize(
    "address",
    [
        "jürgen@müller.de",
        "用户@例子.中国",
        "ivan@пример.рф",
        "jane@xn--mller-kva.xn--p1ai",
        "JANE.ROE@ACME.COM",
        "jane+snow@mail.acme.co.uk",
        "jane\\@acme.org",
        "jane@acme.photography",
        "jane@math.acme.edu",
        "root@arthur.INS.ACME.Edu",
    ],
)
def test_an_address_is_replaced_in_any_script_and_domain(address: str) -> None:
    assert redact(f"by {address}, 2024").text == "by <EMAIL>, 2024"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ('"To:\\tjane@acme.com\\n"', '"To:\\t<EMAIL>\\n"'),
        ('"\\x3cjane@acme.com\\x3e"', '"\\x3c<EMAIL>\\x3e"'),
        ('"\\u003cjane@acme.com\\u003e"', '"\\u003c<EMAIL>\\u003e"'),
        ("\\fBjane@acme.com\\fR", "\\fB<EMAIL>\\fR"),
        ("'\\x1b[1;94mjane@acme.com\\x1b[0m'", "'\\x1b[1;94m<EMAIL>\\x1b[0m'"),
        ("x = b'jane@acme.com'", "x = b'<EMAIL>'"),
        ("by o'neil@acme.ie", "by o'<EMAIL>"),
        ("(\\fBgit@github.com:acme/x.git\\fR)", "(\\fBgit@github.com:acme/x.git\\fR)"),
        ("b'Z@github.com/acme/proto/v1'", "b'Z@github.com/acme/proto/v1'"),
    ],
)
def test_escapes_and_quotes_beside_an_address_stay(text: str, redacted: str) -> None:
    assert redact(text).text == redacted


def test_an_address_beside_other_scripts_is_replaced_alone() -> None:
    assert redact("联系jane@acme.com。").text == "联系<EMAIL>。"
