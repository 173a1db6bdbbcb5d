"""A release names each of its steps as it begins: some take minutes."""

from __future__ import annotations

from deploy import image, plugin, release, sbom
from deploy.python_packages import Builder


def test_each_step_is_told_before_what_it_makes_is_there(tmp_path, monkeypatch):
    def write(path, *_):
        path.write_bytes(b"content")
        return path

    monkeypatch.setattr(image, "build", write)
    monkeypatch.setattr(image, "read", lambda archive: archive)
    monkeypatch.setattr(sbom, "write", write)
    monkeypatch.setattr(plugin, "build", write)
    monkeypatch.setattr(release, "_chart", write)
    wheel, target = tmp_path / "podnuma-1-py3-none-any.whl", tmp_path / "dist"
    wheel.touch()
    builder = Builder(tmp_path)
    vars(builder)["wheel"] = wheel  # as if it were built
    begun: list[tuple[str, int]] = []

    def begin(step):
        begun.append((step, len(list(target.iterdir()))))

    made = release.build(target, tmp_path, ["amd64", "arm64"], builder, begin)
    of_each = ("building the image", "listing what is in the image", "building the krew plugin")
    assert begun == [
        ("building the wheel", 0),
        ("packaging the chart", 1),
        *((f"{step} for linux/amd64", 2 + number) for number, step in enumerate(of_each)),
        *((f"{step} for linux/arm64", 5 + number) for number, step in enumerate(of_each)),
        ("writing manifest and checksums", 8),
    ]
    assert sorted(path.name for path in made) == sorted(path.name for path in target.iterdir())
