"""Whom the programs trust over TLS, and how they show who they are themselves."""

import ssl

from processor.errors import ConfigurationError


def make_context(
    table: str, *, ca_file: str | None, cert_file: str | None, key_file: str | None
) -> ssl.SSLContext:
    """A context of a client from a table's files; no ``ca_file``: the system's authorities.

    Raises:
        ConfigurationError: a file cannot be read or is not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise _refuse(f"{table}.ca_file", ca_file, error, "PEM certificates of authorities") from None
    if cert_file is not None:
        try:
            # An encrypted key is refused: nobody is there to be asked for its password.
            context.load_cert_chain(cert_file, key_file, password="")
        except OSError as error:
            raise _refuse(
                f"{table}.cert_file", cert_file, error, "a PEM certificate, and its own key in key_file"
            ) from None
    return context


def _refuse(key: str, file: str | None, error: OSError, expected: str) -> ConfigurationError:
    found = "no certificate or key" if isinstance(error, ssl.SSLError) else str(error.strerror)
    return ConfigurationError(file=str(file), line=None, key=key, found=found, expected=expected)
