"""Certificates carry the user, group and hosts that the API server reads from them."""

from __future__ import annotations

import ipaddress

from cryptography import x509
from cryptography.x509.oid import NameOID

from testbed.pki import Authority


def test_issued_certificate_is_signed_by_the_authority_and_names_user_group_and_hosts(tmp_path):
    authority = Authority(tmp_path)
    crt, key = authority.issue(
        "node", "system:node:n1", group="system:nodes", hosts=["127.0.0.1", "localhost"]
    )
    certificate = x509.load_pem_x509_certificate(crt.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.ca_file.read_bytes()))
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:n1"
    assert certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert key.stat().st_mode & 0o077 == 0


def test_signing_key_has_the_form_that_the_api_server_reads(tmp_path):
    path = Authority(tmp_path).signing_key("service-accounts")
    assert path.read_text().startswith("-----BEGIN EC PRIVATE KEY-----")


def test_a_second_authority_in_the_same_folder_is_the_same(tmp_path):
    first = Authority(tmp_path)
    authority, keys = first.ca_file.read_bytes(), first.signing_key("service-accounts").read_bytes()
    second = Authority(tmp_path)
    crt, _ = second.issue("node", "system:node:n1")
    issued = x509.load_pem_x509_certificate(crt.read_bytes())
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    assert second.ca_file.read_bytes() == authority
    assert second.signing_key("service-accounts").read_bytes() == keys
