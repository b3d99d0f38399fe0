import pytest

from snow_assets.curation.redaction import redact

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
    "h" + "f_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh",
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
