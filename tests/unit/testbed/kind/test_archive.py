"""A Docker archive says by digest what is in it, and carries every file and link it was given."""

from __future__ import annotations

import hashlib
import json
import tarfile

from testbed.kind.archive import write_image, write_layer


def members(path):
    """What an archive has: content of files, targets of links, nothing of folders."""
    found: dict[str, bytes | str] = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isreg() else None
            found[entry.name] = file.read() if file else entry.linkname
    return found


def test_a_layer_has_programs_that_may_run_and_links(tmp_path):
    program, layer = tmp_path / "one", tmp_path / "layer.tar"
    program.write_bytes(b"code")
    write_layer({"usr/local/bin/one": program}, {"usr/sbin/two": "one"}, layer)
    found = members(layer)
    assert found["usr/local/bin/one"] == b"code"
    assert found["usr/sbin/two"] == "one"
    with tarfile.open(layer) as archive:
        assert archive.getmember("usr/local/bin/one").mode == 0o755
        assert archive.getmember("tmp").mode == 0o1777


def test_the_archive_names_its_parts_by_their_digests(tmp_path):
    layer, target = tmp_path / "layer.tar", tmp_path / "image.tar"
    layer.write_bytes(b"a layer")
    write_image("localhost/some:1", layer, {"Env": ["A=b"], "Entrypoint": ["/one"]}, target)
    found = members(target)
    (entry,) = json.loads(found["manifest.json"])
    config = json.loads(found[entry["Config"]])
    assert entry["RepoTags"] == ["localhost/some:1"]
    assert entry["Config"] == f"{hashlib.sha256(found[entry['Config']]).hexdigest()}.json"
    assert [found[name] for name in entry["Layers"]] == [b"a layer"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(b'a layer').hexdigest()}"]
    assert config["config"] == {"Env": ["A=b"], "Entrypoint": ["/one"]}
