from podnuma.agent.cri.errors import CriError, LateError, UnreachableError


def test_text_names_call_code_and_cause():
    error = CriError("Version", "INTERNAL", "boom")
    assert (str(error), error.method, error.code) == ("CRI Version: INTERNAL: boom", "Version", "INTERNAL")


def test_errors_are_the_nearest_built_in_too():
    assert issubclass(UnreachableError, ConnectionError)
    assert issubclass(LateError, TimeoutError)
