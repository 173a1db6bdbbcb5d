"""Manifests are read whole; every problem is one line with its place."""

import io

import pytest
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import documents


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def one(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return name

    return one


def problems(*names: str) -> tuple[str, ...]:
    with pytest.raises(Failure) as failure:
        documents.read_documents(names)
    assert failure.value.code is Exit.INPUT
    return failure.value.lines


def test_documents_know_their_place(write):
    file = write("two.yaml", "kind: Pod\nmetadata: {name: a}\n---\n\nkind: Job\nmetadata: {name: b}\n")
    assert [(one.place, one.kind, one.name) for one in documents.read_documents([file])] == [
        ("two.yaml document 1 (line 1)", "Pod", "a"),
        ("two.yaml document 2 (line 5)", "Job", "b"),
    ]


def test_lists_are_unfolded_and_items_of_typed_lists_get_their_kind(write):
    text = "kind: List\nitems: [{kind: Pod}]\n---\nkind: PodList\nitems: [{metadata: {name: x}}]\n"
    file = write("list.yaml", text)
    assert [(one.place, one.kind) for one in documents.read_documents([file])] == [
        ("list.yaml document 1 (line 1) items[0]", "Pod"),
        ("list.yaml document 2 (line 4) items[0]", "Pod"),
    ]


def test_empty_documents_are_nothing(write):
    assert documents.read_documents([write("empty.yaml", "---\n---\n# nothing\n")]) == []


def test_json_is_read_too(write):
    assert [one.kind for one in documents.read_documents([write("pod.json", '{"kind": "Pod"}')])] == ["Pod"]


def test_folders_are_read_in_the_order_of_their_names(write, tmp_path):
    write("b.yaml", "kind: B")
    write("a.yml", "kind: A")
    write("note.txt", "kind: C")
    assert [one.kind for one in documents.read_documents([str(tmp_path)])] == ["A", "B"]


def test_standard_input_is_a_dash(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"kind: Pod")))
    assert documents.read_documents(["-"])[0].place == "standard input document 1 (line 1)"


def test_all_problems_are_found_in_one_pass(write):
    bad = write("bad.yaml", "kind: Pod\n---\nmetadata: [\n")
    strange = write("strange.yaml", "- 1\n---\nname: x\n")
    assert problems(bad, strange, "missing.yaml") == (
        "bad.yaml document 2: line 4 column 1: did not find expected node content",
        "strange.yaml document 1 (line 1): expected an object, got a list",
        "strange.yaml document 2 (line 3): kind is missing",
        "missing.yaml: No such file or directory",
    )


@pytest.mark.parametrize(
    ("text", "help_"),
    [
        (
            "containers: [{name: c}]",
            "; containers belong below spec: of a pod, write apiVersion: v1, kind: Pod, metadata and spec",
        ),
        ("metadata: {name: p}\nspec: {containers: []}", "; for a pod write apiVersion: v1 and kind: Pod"),
        ("spec: {replicas: 2}", ""),
        ("Kind: Pod\nspec: {}", ", as Kind is another field"),
    ],
)
def test_the_spec_of_a_pod_alone_is_told_what_it_lacks(write, text, help_):
    assert problems(write("spec.yaml", text)) == (f"spec.yaml document 1 (line 1): kind is missing{help_}",)


def test_items_of_a_list_have_its_type_where_they_say_none(write):
    """As kubectl reads them; those that say a kind are not completed."""
    text = "apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: x}}, {kind: Pod}]\n"
    found = documents.read_documents([write("pods.yaml", text)])
    assert [one.value.get("apiVersion") for one in found] == ["v1", None]


def test_a_folder_without_manifests_is_a_problem(tmp_path):
    assert problems(str(tmp_path)) == (f"{tmp_path}: this folder has no file ending in .yaml, .yml, .json",)


def test_bytes_are_no_manifest(tmp_path):
    file = tmp_path / "image.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert problems(str(file)) == (f"{file}: is not UTF-8 text",)


def test_a_tag_that_kubectl_does_not_know_runs_nothing(write):
    file = write("tag.yaml", "kind: !!python/object/apply:os.system ['true']\n")
    assert problems(file) == ("tag.yaml document 1 (line 1): kind is missing",)


def names(*files: str) -> list[str]:
    return [one.name for one in documents.read_documents(files)]


def pods(*names: str) -> list[str]:
    return [f'{{"kind": "Pod", "metadata": {{"name": "{name}"}}}}' for name in names]


@pytest.mark.parametrize("between", ["", "\n", " \n\n", "\n---\n", "\r\n--- \r\n"])
def test_objects_of_json_may_follow_each_other(write, between):
    """`jq -c '.items[]'` writes them so, and kubectl reads them."""
    file = write("stream.json", between.join(pods("a", "b", "c")) + "\n")
    assert names(file) == ["a", "b", "c"]


def test_lines_of_json_have_their_numbers(write):
    file = write("lines.json", "\n".join(pods("a", "b")))
    assert [one.place for one in documents.read_documents([file])] == [
        "lines.json document 1 (line 1)",
        "lines.json document 2 (line 2)",
    ]


def test_escapes_of_json_are_characters_of_two_halves(write):
    text = '{"kind": "Pod", "metadata": {"annotations": {"a": "\\ud83d\\ude00 \\/", "half": "\\ud83d"}}}'
    (found,) = documents.read_documents([write("pod.json", text)])
    assert found.value["metadata"]["annotations"] == {"a": "\U0001f600 /", "half": "\ufffd"}


def test_numbers_of_json_are_those_that_kubectl_sends(write):
    (found,) = documents.read_documents([write("pod.json", '{"kind": "Pod", "a": [1.0, 1e3, 1.5, 7]}')])
    assert repr(found.value["a"]) == "[1, 1000, 1.5, 7]"


def test_what_begins_like_json_may_be_yaml(write):
    assert names(write("pod.yaml", "{kind: Pod, metadata: {name: a}}\n")) == ["a"]
    assert problems(write("bad.json", '{"kind": "Pod", "a": NaN, ]')) == (
        "bad.json document 1: line 1 column 27: did not find expected node content",
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_windows_writes_byte_order_marks_and_two_bytes_a_character(tmp_path, encoding):
    file = tmp_path / "pod.yaml"
    file.write_bytes("kind: Pod\r\nmetadata: {name: ä}\r\n".encode(encoding))
    assert names(str(file)) == ["ä"]


def test_a_byte_order_mark_may_stand_where_files_were_joined(write):
    joined = "\ufeffkind: Pod\nmetadata: {name: a}\n--- # b\n\ufeffkind: Pod\nmetadata: {name: b}\n"
    assert names(write("both.yaml", joined)) == ["a", "b"]


def test_a_list_may_have_null_for_no_items(write):
    assert documents.read_documents([write("none.json", '{"kind": "List", "items": null}')]) == []


def test_an_address_is_not_read_and_the_way_is_told():
    url = "https://example.com/pod.yaml"
    way = f"curl -fsSL {url} | podnuma ... -f -"
    assert problems(url) == (f"{url}: addresses are not read; pass it on: {way}",)


def test_what_looks_like_a_template_is_to_be_rendered(tmp_path):
    file = tmp_path / "chart.yaml"
    file.write_text("kind: Pod\nmetadata: {name: {{ .Values.name }}}\n")
    assert problems(str(file))[0].endswith("; is this a template? then render it first: helm template CHART")


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        (
            "kustomization.yaml",
            "resources: [a.yaml]",
            "render it first: kubectl kustomize FOLDER | podnuma plan -f -",
        ),
        ("Chart.yaml", "apiVersion: v2", "render the chart first: helm template FOLDER | podnuma plan -f -"),
    ],
)
def test_of_files_that_are_no_manifests_it_is_said_how_they_are_rendered(tmp_path, name, text, hint):
    (tmp_path / name).write_text(text)
    with pytest.raises(Failure) as raised:
        documents.read_documents([str(tmp_path)])
    assert raised.value.lines == (f"{tmp_path}/{name} document 1 (line 1): kind is missing; {hint}",)
