import itertools

from hypothesis import given
from hypothesis import strategies as st
from podnuma.plumbing.remembered import Remembered


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=2), st.integers(0, 1)), max_size=30))
def test_the_answer_is_always_that_of_the_question(questions):
    def answer(one: list[int], *, other: int) -> tuple[list[int], int]:
        asked.append((one, other))
        return one, other

    asked: list[tuple[list[int], int]] = []
    remembered = Remembered(answer)
    for one, other in questions:
        assert remembered(list(one), other=other) == (one, other)
    assert asked == [question for question, _ in itertools.groupby(questions)]


def test_what_failed_is_asked_again():
    def fail(number: int) -> int:
        asked.append(number)
        return 1 // number

    asked: list[int] = []
    remembered = Remembered(fail)
    for number in (0, 0, 1):
        try:
            assert remembered(number) == 1
        except ZeroDivisionError:
            assert number == 0
    assert asked == [0, 0, 1]
