"""What the teacher is asked: OSS-Instruct (arXiv 2312.02120) turned to whole code files.

Arctic-SnowCoder asks for a file rather than for a question and its answer, and published no
prompt: the words are ours. What all requests share stands first, then the language, then the
seed, so that an engine computes the shared part once.
"""

PROMPT_VERSION = "2"
"""Another number whenever a word below changes: it is part of the answers' address."""

Messages = list[dict[str, str]]
"""A chat: `role` and `content` each."""

_PYTHON = '''\
"""Count how often each word occurs in a text."""


def word_counts(text: str) -> dict[str, int]:
    """Return how often each word occurs, ignoring case."""
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts


if __name__ == "__main__":
    for word, count in sorted(word_counts("the cat and the dog").items()):
        print(word, count)
'''
_C = """\
#include <stdio.h>

/* Return the sum of the digits of a number. */
static int digit_sum(unsigned number)
{
    int sum = 0;
    while (number > 0) {
        sum += number % 10;
        number /= 10;
    }
    return sum;
}

int main(void)
{
    printf("%d\\n", digit_sum(2024));
    return 0;
}
"""
EXAMPLES = (
    ("python", "    for key in sorted(table):\n        total += table[key]", _PYTHON),
    ("c", "while (left < right) {\n    swap(text, left++, right--);", _C),
)
"""Language, seed and file, shown to the teacher. Of 62 seeds, SmolLM2-135M's parsing files were 22
with the first example alone, and 26 with both; without any, 6 of 12 Python files parsed, with the
first, 11. A small teacher needs them; a penalty on repetition spoiled more files than it saved."""

_TOKENS_PER_LINE = 10  # of code, about: a file of the length asked for then fits the answer
_END = "</fragment>"
_NAMES = {
    "cpp": "C++",
    "csharp": "C#",
    "javascript": "JavaScript",
    "php": "PHP",
    "sql": "SQL",
    "typescript": "TypeScript",
}


def display_name(language: str) -> str:
    """`javascript` -> `JavaScript`."""
    return _NAMES.get(language, language.capitalize())


def messages(language: str, snippet: str, *, max_new_tokens: int) -> Messages:
    """One request: the task, examples of it, and the seed, quoted as data."""
    most_lines = max(10, max_new_tokens // _TOKENS_PER_LINE)
    task = (
        "You write short, complete source files. Each solves one realistic programming problem, "
        f"is self-contained and correct, and has at most {most_lines} lines. "
        "You answer with the file alone, in one fenced code block."
    )
    asked = [{"role": "system", "content": task}]
    for name, seed, text in EXAMPLES:
        asked.append({"role": "user", "content": _request(name, seed)})
        asked.append({"role": "assistant", "content": f"```{name}\n{text}```"})
    return [*asked, {"role": "user", "content": _request(language, snippet)}]


def _request(language: str, snippet: str) -> str:
    name = display_name(language)
    # Corpus text must not end its own quotation and go on as an instruction.
    quoted = snippet.replace(_END, "< /fragment>")
    return (
        f"Language: {name}\n"
        f"Write a short, self-contained {name} file. Let this fragment inspire it, without "
        f"copying it:\n<fragment>\n{quoted}\n{_END}"
    )
