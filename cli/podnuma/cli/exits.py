"""What the exit code of `podnuma` means, and the one way for a command to fail.

| code | name        | meaning |
| ---- | ----------- | ------- |
| 0    | OK          | done; the answer, if there was a question, is yes |
| 1    | NO          | the answer is no: a pod would be refused, a container is not as it should be |
| 2    | USAGE       | the command line itself is wrong |
| 3    | INPUT       | a file cannot be read or written, or has errors; each is one line on standard error |
| 4    | UNREACHABLE | no cluster: no kubeconfig, or the API server does not answer |
| 5    | FORBIDDEN   | the API server refused: not logged in, or a right is missing |
| 6    | NOT_SERVED  | the cluster lacks podnuma's resources, or serves versions this build does not know |
| 7    | NOT_FOUND   | the named object does not exist |
| 70   | FAULT       | a bug in podnuma: the trace is on standard error |
| 130  | INTERRUPTED | Ctrl-C, or SIGTERM to the first process of a container |

Standard output carries answers only; every error goes to standard error.
"""

from enum import IntEnum

INSTALL_NAMESPACE = "podnuma-system"
"""Where podnuma is installed unless an option says otherwise; some next steps name it."""


class Exit(IntEnum):
    """All exit codes that podnuma ends with; the table above says when."""

    OK = 0
    NO = 1
    USAGE = 2
    INPUT = 3
    UNREACHABLE = 4
    FORBIDDEN = 5
    NOT_SERVED = 6
    NOT_FOUND = 7
    FAULT = 70
    INTERRUPTED = 130


class Failure(Exception):  # noqa: N818 - the command failed, podnuma has no bug
    """A command cannot give an answer. Each of `lines` is one line on standard error, with its next step."""

    def __init__(self, code: Exit, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code
        self.lines = lines


class LoginFailure(Failure):
    """The API server does not know who asks: no question can be answered, whatever rights there are."""
