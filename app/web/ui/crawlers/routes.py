"""Rules for crawlers: public pages may be read, pages of stacks may not."""

from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

router = APIRouter()

_ROBOTS: Final = """\
User-agent: *
Disallow: /account
Disallow: /api/
Disallow: /deployments/
Disallow: /operator
Disallow: /stacks
Disallow: /take-over
Allow: /
"""


@router.api_route("/robots.txt", methods=["GET", "HEAD"])
async def robots() -> Response:
    """Return the rules (RFC 9309)."""
    return PlainTextResponse(_ROBOTS, headers={"Cache-Control": "public, max-age=3600"})
