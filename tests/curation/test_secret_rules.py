"""The rules of formats: translated from Go's expressions, and found where the passes look."""

import random
import re
import sys
from pathlib import Path

import pytest
import rstr

from snow_assets.curation.redaction.byte_prefixes import byte_prefixes
from snow_assets.curation.redaction.go_regex import go_to_python
from snow_assets.curation.redaction.redact import redact
from snow_assets.curation.redaction.secret_names import secret_kind
from snow_assets.curation.redaction.secret_rules import SecretRule, secret_rules
from tests.curation.reference import redaction as plain

DATA = Path(__file__).parents[2] / "snow_assets/curation/redaction/secret_data"
RULES = secret_rules()
# rstr repeats at most 100 times, and some formats are longer.
sys.modules["rstr.xeger"].STAR_PLUS_LIMIT = 400


@pytest.mark.parametrize(
    ("go", "texts", "others"),
    [
        (r"a(?i)b", ["ab", "aB"], ["Ab"]),
        (r"(a(?i)b|c)d", ["aBd", "Cd"], ["aBD", "Ad"]),
        (r"(?i)a(?-i:b)", ["Ab"], ["aB"]),
        (r"a$", ["a"], ["a\n"]),
        (r"a\z", ["a"], ["a\n"]),
        (r"[[:alnum:]]-", ["7-"], ["[-", ":-"]),
        (r"[^[]a", ["xa"], ["[a"]),
        (r"\$(?:\d+|{\d+})", ["${12}"], ["$x"]),
    ],
)
def test_expressions_of_go_match_the_same_texts(
    go: str, texts: list[str], others: list[str]
) -> None:
    pattern = re.compile(go_to_python(go), re.ASCII)
    assert all(map(pattern.fullmatch, texts))
    assert not any(map(pattern.fullmatch, others))


@pytest.mark.parametrize(
    ("pattern", "prefixes"),
    [
        (r"\bghp_[0-9]{3}", [["g", "h", "p", "_", "0123456789"] + ["0123456789"] * 2]),
        (r"(?:ab|c)d", [["a", "b", "d"], ["c", "d"]]),
        (r"(?i:a)b", [["Aa", "b"]]),
        (r"[ab]{2,}c", [["ab", "ab"]]),
        (r"ax?b", [["a"]]),
        (r"a[^b]c", [["a"]]),
        (r"aéb", [["a"]]),
    ],
)
def test_prefixes_are_the_sets_of_bytes_that_matches_begin_with(
    pattern: str, prefixes: list[list[str]]
) -> None:
    read = [[bytes(sorted(sets)).decode() for sets in one.sets] for one in byte_prefixes(pattern)]
    expected = [["".join(sorted(letters)) for letters in one] for one in prefixes]
    assert [sets[:7] for sets in read] == expected


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule_id)
def test_a_text_of_each_format_is_redacted_as_without_the_pass_over_bytes(rule: SecretRule) -> None:
    generator = rstr.Rstr(random.Random(rule.rule_id))
    texts = [f"é {generator.xeger(rule.pattern_text)} x" for _ in range(5)]
    assert [redact(text).text for text in texts] == [plain.redact(text).text for text in texts]


def test_every_format_with_a_prefix_of_its_own_is_redacted_bare() -> None:
    kept = []
    for rule in RULES:
        if rule.names_product or rule.check or (rule.keywords and rule.is_searched_anywhere):
            continue
        generator = rstr.Rstr(random.Random(f"bare {rule.rule_id}"))
        for _ in range(20):
            match = rule.pattern.search(generator.xeger(rule.pattern_text))
            if match and (span := rule.secret_span(match)):
                token = match.string[span[0] : span[1]]
                is_whole = rule.pattern.fullmatch(token) is not None
                is_kept = token in redact(f"# deployed with {token}\n").text
                kept += [rule.rule_id] if is_whole and is_kept else []
                break
    assert not kept


def test_the_rules_come_with_their_licence_and_source() -> None:
    assert "Copyright (c) 2019 Zachary Rice" in (DATA / "gitleaks.LICENSE").read_text()
    assert "github.com/gitleaks/gitleaks" in (DATA / "README.md").read_text()
    assert len(re.findall(r"^\[\[rules\]\]", (DATA / "gitleaks.toml").read_text(), re.M)) == 222


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DB_PASSWORD", "password"),
        ("dbpassword", "password"),
        ("MYSQL_PASS", "password"),
        ("user.pwd", "password"),
        ("apiKey", "key"),
        ("X-Api-Key", "key"),
        ("clientSecret", "key"),
        ("GITHUB_TOKEN_2", "key"),
        ("secret_key_base", "key"),
        ("APP_KEY", "key"),
        ("LOGGED_IN_SALT", "key"),
        ("tokenizer_name", None),
        ("pad_token", None),
        ("next_page_token", None),
        ("token_ids", None),
        ("secret_name", None),
        ("passwordField", None),
        ("private_key_path", None),
        ("bypass", None),
        ("compass", None),
        ("primary_key", None),
        ("foreign_key", None),
        ("monkey", None),
        ("csrf_token", None),
    ],
)
def test_the_last_words_of_a_name_say_whether_it_names_a_secret(
    name: str, kind: str | None
) -> None:
    assert secret_kind(name) == kind


def test_every_rule_has_something_to_look_for() -> None:
    assert all(rule.keywords for rule in RULES if rule.is_searched_anywhere)
