"""Which samples an evaluation reads."""

from pathlib import Path

from snow_assets.evaluation import problems, samples
from tests.evaluation.builders import put_corpus, put_problems


def test_a_choice_is_by_hash_and_knows_no_order() -> None:
    ids = [f"document-{n}" for n in range(50)]
    assert problems.sample_ids(ids, num=5, seed=0) == problems.sample_ids(ids[::-1], num=5, seed=0)
    assert problems.sample_ids(ids, num=5, seed=0) != problems.sample_ids(ids, num=5, seed=1)
    assert sorted(problems.sample_ids(ids, num=None, seed=0)) == sorted(ids)


def test_a_smaller_choice_is_part_of_a_larger_one() -> None:
    ids = [f"document-{n}" for n in range(50)]
    assert problems.sample_ids(ids, num=20, seed=0)[:5] == problems.sample_ids(ids, num=5, seed=0)


def test_a_beginning_never_splits_a_character() -> None:
    assert samples.truncate_utf8("aé", max_bytes=2) == "a"
    assert samples.truncate_utf8("aé", max_bytes=3) == "aé"


def test_only_held_out_documents_are_read(tmp_path: Path) -> None:
    folder = put_corpus(str(tmp_path), "python", ["held out " * 3, ""], train=["trained on"])
    found = list(samples.held_out_documents(folder, num=10, max_bytes=8, seed=0))
    assert [document.text for document in found] == ["held out"]


def test_no_more_documents_are_read_than_asked_for(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(9)]
    folder = put_corpus(str(tmp_path), "python", texts, train=[])
    assert len(list(samples.held_out_documents(folder, num=4, max_bytes=99, seed=0))) == 4


def test_a_prompt_loses_its_last_newlines_and_its_solution_gets_them(tmp_path: Path) -> None:
    found = problems.sample_problems(put_problems(str(tmp_path)), ["HumanEval"], num=None, seed=0)
    assert {problem.prompt[-1] for problem in found} <= {'"', "'"}
    assert all(problem.solution.startswith("\n ") for problem in found)
    assert all(problem.num_stripped_newlines == 1 for problem in found)
