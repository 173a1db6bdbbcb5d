import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.plumbing.kube import errors


def answer(status, reason="", message=""):
    return errors.from_answer(status, json.dumps({"kind": "Status", "reason": reason, "message": message}))


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (404, "NotFound", errors.NotFoundError),
        (409, "Conflict", errors.ConflictError),
        (409, "AlreadyExists", errors.AlreadyExistsError),
        (410, "Expired", errors.GoneError),
        (429, "TooManyRequests", errors.BusyError),
        (403, "Forbidden", errors.RefusedError),
        (422, "Invalid", errors.RefusedError),
        (500, "InternalError", errors.UncertainError),
        (504, "Timeout", errors.UncertainError),
    ],
)
def test_each_answer_has_one_class(status, reason, kind):
    error = answer(status, reason, "because")
    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (status, reason, "because")


def test_retry_after_counts_only_as_a_number_of_seconds():
    assert errors.from_answer(429, b"", "7").retry_after == 7.0
    assert errors.from_answer(429, b"", "Wed, 21 Oct 2026 07:28:00 GMT").retry_after is None
    assert errors.from_answer(429, b"", None).retry_after is None


@pytest.mark.parametrize("said", ["86400", "1e300", "inf", "nan", "-5"])
def test_no_server_makes_anybody_wait_longer_than_a_minute(said):
    pause = errors.from_answer(503, b"", said).retry_after
    assert pause is not None
    assert 0.0 <= pause <= 60.0


@given(st.integers(400, 599), st.binary(max_size=2000))
def test_any_body_becomes_an_error_of_bounded_length(status, body):
    assert len(errors.from_answer(status, body).message) <= 600


def test_a_webhook_that_does_not_answer_is_told_from_a_server_that_may_have_written():
    said = 'Internal error occurred: failed calling webhook "a.b.c": context deadline exceeded'
    assert type(answer(500, "InternalError", said)) is errors.WebhookError
    assert isinstance(answer(500, "InternalError", said), errors.BusyError)
    assert type(answer(500, "InternalError", "etcdserver: request timed out")) is errors.UncertainError
    assert (
        type(answer(403, "Forbidden", 'admission webhook "a.b.c" denied the request')) is errors.RefusedError
    )
