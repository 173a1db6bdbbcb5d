"""What is in an image, as an SPDX 2.3 document: read from the image itself, not from what was meant to go in.

dpkg's database names Debian's packages, the METADATA of each distribution Python's. Licences are those that a
distribution declares as an SPDX expression; of what declares none nothing is claimed. Model, checks and file
format are those of spdx-tools, the SPDX project's own library.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from email.parser import BytesParser, Parser
from typing import TYPE_CHECKING
from urllib.parse import quote

from license_expression import ExpressionError, get_spdx_licensing
from spdx_tools.spdx.model.actor import Actor, ActorType
from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm
from spdx_tools.spdx.model.document import CreationInfo, Document
from spdx_tools.spdx.model.package import (
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
    PackagePurpose,
)
from spdx_tools.spdx.model.relationship import Relationship, RelationshipType
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion
from spdx_tools.spdx.writer.write_anything import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from license_expression import LicenseExpression

    from deploy.image import Image

_DOCUMENT = "SPDXRef-DOCUMENT"
_IMAGE = "SPDXRef-image"


def write(target: Path, image: Image) -> None:
    """Write the document of an image; spdx-tools refuses one that is not valid."""
    parts = [*_debian(image), *_python(image)]
    parts.sort(key=lambda part: part.spdx_id)
    contained = [Relationship(_IMAGE, RelationshipType.CONTAINS, part.spdx_id) for part in parts]
    write_file(
        Document(
            _creation(image),
            packages=[_whole(image), *parts],
            relationships=[Relationship(_DOCUMENT, RelationshipType.DESCRIBES, _IMAGE), *contained],
        ),
        str(target),
        validate=True,
    )


def _creation(image: Image) -> CreationInfo:
    made = image.labels.get("org.opencontainers.image.created")
    when = datetime.fromisoformat(made) if made else datetime.fromtimestamp(0, UTC)
    return CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id=_DOCUMENT,
        name=f"podnuma image linux/{image.architecture}",
        # Unique per content, and no address that somebody would have to serve.
        document_namespace=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, image.digest)}",
        creators=[Actor(ActorType.TOOL, "podnuma-make-release")],
        created=when.astimezone(UTC).replace(tzinfo=None),
    )


def _whole(image: Image) -> Package:
    digest = image.digest.removeprefix("sha256:")
    return Package(
        _IMAGE,
        "podnuma",
        SpdxNoAssertion(),
        version=image.labels["org.opencontainers.image.version"],
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, digest)],
        license_declared=_licence(image.labels["org.opencontainers.image.licenses"]),
        primary_package_purpose=PackagePurpose.CONTAINER,
        external_references=[_purl(f"pkg:oci/podnuma@sha256%3A{digest}?arch={image.architecture}")],
    )


def _debian(image: Image) -> Iterator[Package]:
    release = re.search(r'^VERSION_ID="(\d+)"', image.files["usr/lib/os-release"].decode(), re.MULTILINE)
    distribution = f"debian-{release[1]}" if release else "debian"
    for stanza in image.files["var/lib/dpkg/status"].decode().strip().split("\n\n"):
        fields = Parser().parsestr(stanza)
        name, version = fields["Package"], fields["Version"]
        where = f"?arch={fields['Architecture']}&distro={distribution}"
        yield Package(
            _identifier("deb", name),
            name,
            SpdxNoAssertion(),
            version=version,
            supplier=Actor(ActorType.ORGANIZATION, "Debian"),
            files_analyzed=False,
            source_info=f"built from the source package {(fields['Source'] or name).split()[0]}",
            external_references=[_purl(f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}{where}")],
        )


def _python(image: Image) -> Iterator[Package]:
    for path, content in image.files.items():
        if path.endswith(".dist-info/METADATA"):
            fields = BytesParser().parsebytes(content, headersonly=True)
            name, version = re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"]
            yield Package(
                _identifier("pypi", name),
                name,
                SpdxNoAssertion(),
                version=version,
                files_analyzed=False,
                license_declared=_licence(fields["License-Expression"] or ""),
                external_references=[_purl(f"pkg:pypi/{name}@{quote(version, safe='')}")],
            )


def _identifier(kind: str, name: str) -> str:
    return f"SPDXRef-{kind}-{name.replace('+', '-plus')}"


def _purl(locator: str) -> ExternalPackageRef:
    return ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", locator)


def _licence(expression: str) -> LicenseExpression | SpdxNoAssertion:
    if not expression:
        return SpdxNoAssertion()
    try:
        return get_spdx_licensing().parse(expression, validate=True)
    except ExpressionError:
        return SpdxNoAssertion()
