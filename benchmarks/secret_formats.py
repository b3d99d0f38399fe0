"""How many of gitleaks' self-identifying formats are redacted, bare and in assignments.

`python benchmarks/secret_formats.py [--tokens N] [--old MODULE_FILE]`. Makes N tokens (20) of each
rule's expression with rstr (random with a fixed seed) that gitleaks itself would report: enough
entropy, not on its lists. A format is self-identifying if its tokens alone satisfy the rule's
expression and hold one of its keywords; `private-key`, whose expression takes any text between two
markers, is not counted. A format is redacted in a form if all its tokens are.
"""

import argparse
import importlib.util
import random
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import rstr

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from snow_assets.curation.redaction.go_regex import go_to_python  # noqa: E402
from snow_assets.curation.redaction.secret_rules import is_globally_allowed  # noqa: E402
from snow_assets.curation.redaction.secret_values import bits_per_char  # noqa: E402

sys.modules["rstr.xeger"].STAR_PLUS_LIMIT = 400  # some formats repeat 250 times at least
RULES = CHECKOUT / "snow_assets/curation/redaction/secret_data/gitleaks.toml"
FORMS = {
    "bare": "# deployed with {}\n",
    "in a sentence": "// see {}, which is old.\n",
    "quoted": 'VALUE = "{}"\n',
    "shell": "export VALUE={}\n",
    "yaml": "value: {}\nother: 1\n",
    "properties": "service.value={}\n",
}
SEED = "secret formats"


@dataclass(frozen=True)
class Format:
    """A rule of gitleaks and tokens that it would report."""

    rule_id: str
    tokens: list[str]


def self_identifying_formats(num_tokens: int) -> Iterator[Format]:
    for rule in tomllib.loads(RULES.read_text())["rules"]:
        if "regex" not in rule or rule["id"] == "private-key":
            continue
        tokens = reported_tokens(rule, num_tokens)
        keywords = rule["keywords"]
        pattern = re.compile(go_to_python(rule["regex"]), re.ASCII)
        if tokens and all(
            pattern.search(token) and any(word in token.lower() for word in keywords)
            for token in tokens
        ):
            yield Format(rule["id"], tokens)


def reported_tokens(rule: dict, num_tokens: int) -> list[str]:
    """Secrets of texts that the rule's expression describes, without those that gitleaks drops."""
    pattern = re.compile(go_to_python(rule["regex"]), re.ASCII)
    generator = rstr.Rstr(random.Random(f"{SEED} {rule['id']}"))
    tokens: list[str] = []
    for _ in range(50 * num_tokens):
        match = pattern.search(generator.xeger(pattern.pattern))
        if match is None:
            continue
        token = next((value for value in match.groups() if value), match[0])
        is_dropped = bits_per_char(token) <= rule.get("entropy", 0.0) or is_globally_allowed(token)
        if not is_dropped:
            tokens.append(token)
        if len(tokens) == num_tokens:
            break
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--old", type=Path, help="another redaction module, for comparison")
    arguments = parser.parse_args()
    formats = list(self_identifying_formats(arguments.tokens))
    sides = {"this": redact_of(None)}
    if arguments.old:
        sides["old"] = redact_of(arguments.old)
    print(f"{len(formats)} self-identifying formats, {arguments.tokens} tokens each")
    for side, redact in sides.items():
        in_all = {one.rule_id for one in formats}
        for name, form in FORMS.items():
            missed = [one.rule_id for one in formats if not is_redacted(one, form, redact)]
            in_all -= set(missed)
            print(
                f"{side}, {name}: {len(formats) - len(missed)} of {len(formats)}; missed {missed}"
            )
        print(f"{side}, in all forms: {len(in_all)} of {len(formats)}")


def redact_of(path: Path | None) -> Callable[[str], str]:
    if path is None:
        from snow_assets.curation.redaction import redact as module
    else:
        spec = importlib.util.spec_from_file_location("old_redaction", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["old_redaction"] = module
        spec.loader.exec_module(module)
    return lambda text: module.redact(text).text


def is_redacted(one: Format, form: str, redact: Callable[[str], str]) -> bool:
    return all(token not in redact(form.format(token)) for token in one.tokens)


if __name__ == "__main__":
    main()
