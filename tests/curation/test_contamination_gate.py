import io
import tokenize

import pyarrow as pa
import pytest

from snow_assets.corpus.problems import read_problems
from snow_assets.curation.decontamination.gate import (
    ContaminatedError,
    GateHit,
    assert_uncontaminated,
    gate_hits,
)
from snow_assets.curation.decontamination.program_tokens import program_tokens, window_hashes
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from tests.curation.builders import RECIPE, a_problem, a_program

PROBLEM = a_problem()
TABLE = pa.Table.from_pylist([PROBLEM], schema=BENCHMARK_PROBLEM)
WINDOW = RECIPE.contamination.gate_window_tokens

DISGUISED = """
class Checker:
  # nothing to see here
  def verify(self, spans):
      count = 0  # starts at zero
      for place, span in enumerate(spans):

            for rival in spans[place+1 :] :
                if span[ 0 ]<=rival[1] and rival[0] <= span[1]:  # overlap
                    count += 1
      return count
"""


def found(text: str) -> list[GateHit]:
    return gate_hits([("doc", text)], TABLE, window_tokens=WINDOW)


def test_a_solution_with_other_names_comments_and_space_is_found() -> None:
    (leak,) = found(a_program("before") + DISGUISED + a_program("after"))
    assert (leak.document_id, leak.problem_id, leak.part) == ("doc", "Task/1", "solution")
    assert "rival" in leak.evidence


def test_a_description_is_found_in_comments() -> None:
    comment = PROBLEM["prompt"].split('"""')[1].replace("\n    ", "\n# ").upper()
    text = "x = 1\n# " + comment
    assert [leak.part for leak in found(text)] == ["description"]


def test_a_text_that_begins_inside_a_string_hides_nothing() -> None:
    assert found('tail of a docstring\n    """\n' + DISGUISED)


def test_a_changed_operator_or_order_is_another_program() -> None:
    assert found(DISGUISED.replace("<=", "<").replace("+= 1", "-= 1")) == []


def test_a_consistent_renaming_matters_not_and_an_inconsistent_one_does() -> None:
    def hashes(text: str) -> list[int]:
        tokens = program_tokens(text)
        return window_hashes(tokens, len(tokens.codes)).tolist()

    assert hashes("a = b + a") == hashes("left  =right+left  # sum")
    assert hashes("a = b + a") != hashes("a = b + b")
    assert hashes("len(a)") != hashes("sum(a)")


def test_tables_of_strings_and_numbers_are_no_evidence() -> None:
    rows = "\n".join(f"        'k{n}': {n % 10}," for n in range(40))
    table = pa.Table.from_pylist(
        [a_problem(solution=f"    return {{\n{rows}\n    }}\n")], schema=BENCHMARK_PROBLEM
    )
    other = "X = {" + ", ".join(f"'other{n}': {n % 10}" for n in range(40)) + "}"
    assert gate_hits([("doc", other)], table, window_tokens=WINDOW) == []


def test_the_gate_refuses_and_names_document_problem_and_evidence() -> None:
    with pytest.raises(ContaminatedError, match=r"document doc holds the solution of Task/1: .*in"):
        assert_uncontaminated(
            [("clean", a_program("x")), ("doc", DISGUISED)], TABLE, window_tokens=WINDOW
        )
    assert_uncontaminated([("clean", a_program("x"))], TABLE, window_tokens=WINDOW)


def renamed(source: str) -> str:
    """All names but fixed ones replaced, comments dropped."""
    from snow_assets.curation.decontamination.program_tokens import _fixed_names

    fixed = _fixed_names()
    names: dict[str, str] = {}
    made = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text = token.string
        if token.type == tokenize.COMMENT:
            continue
        if token.type == tokenize.NAME and not len(fixed.indices_in(program_tokens(text).codes)):
            text = names.setdefault(text, f"name_{len(names)}")
        made.append((token.type, text))
    return str(tokenize.untokenize(made))


def test_most_renamed_humaneval_solutions_are_found_and_copies_nearly_all() -> None:
    rows = read_problems(["HumanEval"])
    table = pa.Table.from_pylist(rows, schema=BENCHMARK_PROBLEM)
    for text_of, at_least in (
        (lambda row: renamed("def f(x):\n" + row["solution"]), 0.8),
        (lambda row: row["prompt"] + row["solution"], 0.94),
    ):
        texts = [(row["problem_id"], text_of(row)) for row in rows]
        caught = gate_hits(texts, table, window_tokens=WINDOW)
        own = {leak.document_id for leak in caught if leak.document_id == leak.problem_id}
        assert len(own) >= at_least * len(rows)
