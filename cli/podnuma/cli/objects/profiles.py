"""NodeProfiles as the command line uses them: one from a file or a cluster, and which of several applies."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from podnuma.api.decoding import InvalidObjectError
from podnuma.api.node_profile import NodeProfile, read_node_profile
from podnuma.api.resource_types import NODE_PROFILE
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.documents import read_documents
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource, near_name


def profile_in_file(file: str) -> NodeProfile:
    """Read the one NodeProfile of a file. Failure(INPUT) names what is wrong."""
    profiles = [document for document in read_documents([file]) if document.kind == NODE_PROFILE.kind]
    if len(profiles) != 1:
        raise Failure(Exit.INPUT, f"{file}: expected one NodeProfile, found {len(profiles)}")
    try:
        return read_node_profile(profiles[0].value)
    except InvalidObjectError as error:
        raise Failure(Exit.INPUT, *(f"{profiles[0].place}: {one}" for one in error.errors)) from error


def profile_named(source: ObjectSource, name: str) -> NodeProfile:
    """Read a NodeProfile from the file of that name or, if there is none, from where objects are read."""
    if Path(name).exists():
        return profile_in_file(name)
    try:
        return read_node_profile(stored_profile(source, name))
    except InvalidObjectError as error:
        raise Failure(Exit.INPUT, *(f"{error.subject}, {one}" for one in error.errors)) from error


def stored_profile(source: ObjectSource, name: str) -> Json:
    """Return a NodeProfile that no file of that name has; Failure(NOT_FOUND) says that there is neither."""
    query = queries.node_profiles(name)
    try:
        return source.fetch(query)[0][0]
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        said = f"{failure.lines[0]}, nor a file of that name{near_name(source, query)}"
        raise Failure(failure.code, said) from failure


def readable_profiles(values: Sequence[Json]) -> tuple[list[NodeProfile], list[str]]:
    """Read profiles, and say which cannot be read."""
    found: list[NodeProfile] = []
    problems: list[str] = []
    for value in values:
        try:
            found.append(read_node_profile(value))
        except InvalidObjectError as error:
            problems.append(f"left out: {error}")
    return found, problems


def winner(profiles: Iterable[NodeProfile], labels: Mapping[str, str]) -> NodeProfile | None:
    """Return the profile that applies to a node with these labels, as the operator chooses."""
    return min(
        (one for one in profiles if one.node_selector.matches(labels)), key=lambda one: one.rank, default=None
    )
