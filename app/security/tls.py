"""TLS trust: the certificates that the portal accepts of providers and stacks."""

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Return the one TLS context of this process, made when it is first needed: reading every certificate takes 50 ms.

    SSL_CERT_FILE and SSL_CERT_DIR in the environment replace the certificates that come with the portal.
    """
    return httpx.create_ssl_context()
