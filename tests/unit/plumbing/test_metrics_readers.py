import pytest
from podnuma.plumbing.kube import errors
from podnuma.plumbing.metrics_readers import ACCESS_REVIEWS, TOKEN_REVIEWS, MetricsReaders

PROMETHEUS = "system:serviceaccount:monitoring:prometheus"


class ApiServer:
    """Knows the tokens that begin with "known"; lets `allowed` get the metrics."""

    def __init__(self):
        self.asked = []
        self.allowed = {PROMETHEUS}
        self.error = None

    async def create(self, path, body):
        self.asked.append((path, body))
        if self.error is not None:
            raise self.error
        if path == TOKEN_REVIEWS:
            if not body["spec"]["token"].startswith("known"):
                return {"status": {"user": {}, "error": "invalid bearer token"}}
            user = {"username": PROMETHEUS, "uid": "u", "groups": ["g"], "extra": {"e": ["f"]}}
            return {"status": {"authenticated": True, "user": user}}
        return {"status": {"allowed": body["spec"]["user"] in self.allowed}}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def server():
    return ApiServer()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def readers(server, clock):
    return MetricsReaders(server.create, clock)


async def test_who_may_get_the_path_may_read(readers, server):
    assert await readers.refusal("Bearer known") is None
    (_, token), (path, access) = server.asked
    assert token["spec"] == {"token": "known"}
    assert path == ACCESS_REVIEWS
    assert access["spec"] == {
        "user": PROMETHEUS,
        "uid": "u",
        "groups": ["g"],
        "extra": {"e": ["f"]},
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
    }


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer  ", "Basic a25vd24=", "known"])
async def test_without_a_token_nobody_is_asked(readers, server, authorization):
    assert (await readers.refusal(authorization)).status == 401
    assert server.asked == []


async def test_a_token_that_the_api_server_does_not_know_is_refused(readers, server):
    assert (await readers.refusal("Bearer forged")).status == 401
    assert [path for path, _ in server.asked] == [TOKEN_REVIEWS]


async def test_an_account_without_the_right_is_refused_and_told_what_it_lacks(readers, server):
    server.allowed.clear()
    refusal = await readers.refusal("Bearer known")
    assert refusal.status == 403
    assert PROMETHEUS in refusal.sentence
    assert "/metrics" in refusal.sentence


@pytest.mark.parametrize("status", [{}, {"authenticated": "yes"}, {"authenticated": True}, None])
async def test_an_odd_answer_lets_nobody_in(clock, status):
    async def create(_path, _body):
        return {"status": status}

    refusal = await MetricsReaders(create, clock).refusal("Bearer known")
    assert refusal is not None
    assert refusal.status == 401


async def test_a_reader_is_asked_about_once_a_minute(readers, server, clock):
    for clock.now in (0, 30, 59):
        assert await readers.refusal("Bearer known") is None
    assert len(server.asked) == 2
    clock.now = 61
    server.allowed.clear()
    assert (await readers.refusal("Bearer known")).status == 403


async def test_a_right_that_was_just_given_counts_after_ten_seconds(readers, server, clock):
    server.allowed.clear()
    assert (await readers.refusal("Bearer known")).status == 403
    server.allowed.add(PROMETHEUS)
    clock.now = 11
    assert await readers.refusal("Bearer known") is None


async def test_while_the_api_server_is_gone_nobody_new_gets_in(readers, server, clock, caplog):
    assert await readers.refusal("Bearer known") is None
    server.error = errors.UncertainError(0, "", "connection refused")
    assert await readers.refusal("Bearer known") is None
    for _ in range(3):
        assert (await readers.refusal("Bearer known-2")).status == 503
    assert len(caplog.records) == 1, "said once"
    server.error = None
    assert await readers.refusal("Bearer known-2") is None, "a failure is not kept"
    clock.now = 100
    server.error = errors.UncertainError(0, "", "connection refused")
    assert (await readers.refusal("Bearer known")).status == 503


async def test_the_log_says_which_right_podnuma_lacks_and_no_token(readers, server, caplog):
    server.error = errors.RefusedError(403, "Forbidden", "cannot create resource tokenreviews")
    await readers.refusal("Bearer known-secret")
    assert "tokenreviews" in caplog.text
    assert "known-secret" not in caplog.text


async def test_answers_kept_are_bounded(readers):
    for number in range(1000):
        await readers.refusal(f"Bearer forged-{number}")
    assert len(readers._answers) == 256
    assert b"forged-999" not in repr(readers._answers).encode()
