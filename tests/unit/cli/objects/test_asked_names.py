"""Pods and workloads are named as in kubectl; a name that cannot be one asks for nothing."""

import pytest
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.asked_names import asked_object, checked_name


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["db"], ("Pod", "default", "db")),
        (["shop/db"], ("Pod", "shop", "db")),
        (["pod", "db"], ("Pod", "default", "db")),
        (["pod/db"], ("Pod", "default", "db")),
        (["po/db-0.a"], ("Pod", "default", "db-0.a")),
        (["pods", "shop/db"], ("Pod", "shop", "db")),
        (["pods/shop/db"], ("Pod", "shop", "db")),
        (["pod"], ("Pod", "default", "pod")),
        (["deploy"], ("Pod", "default", "deploy")),
        (["deploy/web"], ("Deployment", "default", "web")),
        (["deployment", "web"], ("Deployment", "default", "web")),
        (["deployments.apps/web"], ("Deployment", "default", "web")),
        (["deployment.v1.apps/web"], ("Deployment", "default", "web")),
        (["sts/web"], ("StatefulSet", "default", "web")),
        (["Job", "web"], ("Job", "default", "web")),
        (["cronjobs.batch/web"], ("CronJob", "default", "web")),
        (["rc/web"], ("ReplicationController", "default", "web")),
    ],
)
def test_pods_and_workloads_are_named_as_in_kubectl(words, found):
    asked = asked_object(words, "default")
    assert (asked.type.kind, asked.namespace, asked.name) == found


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["/"],
        ["shop/"],
        ["/db"],
        ["deploy/"],
        ["pod", ""],
        ["Db"],
        ["../secrets/a"],
        ["db?watch=1"],
        ["a", "b"],
        ["deployment.batch/web"],
        ["deploy/shop/web"],
        ["pod", "a", "b"],
        ["a" * 254],
    ],
)
def test_other_words_are_a_usage_error_before_anybody_is_asked(words):
    with pytest.raises(Failure) as failure:
        asked_object(words, "default")
    assert failure.value.code is Exit.USAGE


def test_an_empty_name_may_be_a_variable_that_is_not_set():
    with pytest.raises(Failure) as failure:
        checked_name("node", "")
    assert failure.value.lines == ("the name of a node is empty; is a variable not set?",)
