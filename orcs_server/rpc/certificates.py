"""Certificate and key of the server, looked at before gRPC is: of what is wrong with them it says next to nothing. They are read
again when they change, so that a certificate is renewed without a restart.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import grpc

from orcs_server.errors import StartupError

FILE_LIMIT: Final = 1024 * 1024
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_KEY: Final = b"PRIVATE KEY-----"
LOOK_EVERY_S: Final = 1.0
"""Not for each of many connections."""
_log = logging.getLogger("orcs.rpc")
_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


def server_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """Return what gRPC needs for TLS; new connections get what the files hold by then. Raises StartupError that says which of the
    two files is wrong, and how.
    """
    renewing = _Renewing(certificate, key)
    # gRPC takes None for "as it was", which its types do not say.
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", renewing)
    return grpc.dynamic_ssl_server_credentials(renewing.first, fetch)


class _Renewing:
    """Gives gRPC, for each new connection, a new certificate where there is one. gRPC calls it from threads of its own."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = certificate, key
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._seen = self._look()
        self._told = self._seen
        self.first = _read(certificate, key)

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files hold if they have changed, and work; else None: what there is stays."""
        with self._lock:
            if time.monotonic() - self._looked < LOOK_EVERY_S:
                return None
            self._looked = time.monotonic()
            seen = self._look()
            if seen == self._seen:
                return None
            try:
                renewed = _read(*self._paths)
            except StartupError as error:
                # Perhaps only one of the two was replaced so far, so it is tried again; but said once.
                if seen != self._told:
                    _log.error("the certificate was not renewed, the old one stays in use: %s", error)
                    self._told = seen
                return None
            self._seen = self._told = seen
            _log.info("the certificate in %s was read again", self._paths[0])
            return renewed

    def _look(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in self._paths:
            try:
                status = path.stat()
            except OSError as error:
                found.append(error.errno)
            else:
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)


def _read(certificate: Path, key: Path) -> grpc.ServerCertificateConfiguration:
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
    return grpc.ssl_server_certificate_configuration([(secret, chain)])


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
