"""Certificate and key of the server, looked at before gRPC is: of what is wrong with them it says next to nothing."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import grpc

from orcs_server.errors import StartupError

FILE_LIMIT: Final = 1024 * 1024
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_KEY: Final = b"PRIVATE KEY-----"
_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


def server_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """Return what gRPC needs for TLS. Raises StartupError that says which of the two files is wrong, and how."""
    chain, secret = _content(certificate), _content(key)
    if _CERTIFICATE not in chain:
        if _KEY in chain and _CERTIFICATE in secret:
            raise StartupError(
                f"{certificate} holds a private key and {key} a certificate: exchange --tls-certificate and --tls-key"
            )
        raise StartupError(f"{certificate} holds no certificate: give --tls-certificate a chain in PEM form")
    if _KEY not in secret:
        raise StartupError(f"{key} holds no private key: give --tls-key the certificate's key in PEM form")
    if any(mark in secret for mark in _ENCRYPTED):
        raise StartupError(f"the private key in {key} asks for a passphrase: store it without one, for this user only")
    _check(certificate, key)
    return grpc.ssl_server_credentials([(secret, chain)])


def _check(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except (ssl.SSLError, OSError):
        raise StartupError(f"the certificate in {certificate} is damaged: give --tls-certificate a whole one") from None
    try:
        # A password keeps OpenSSL from asking for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartupError(
                f"the private key in {key} does not belong to the certificate in {certificate}: give the key that the "
                "certificate was made for"
            ) from None
        raise StartupError(
            f"the private key in {key} cannot be used with the certificate in {certificate}: it may be damaged, or of a kind "
            "that is too weak"
        ) from None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT)
    except OSError as error:
        raise StartupError(f"{path} cannot be read: {error.strerror}") from None
