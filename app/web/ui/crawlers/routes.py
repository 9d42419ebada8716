"""What search engines may read: the pages for everybody, and nothing of anybody's stacks."""

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
    """The rules, as RFC 9309 has them."""
    return PlainTextResponse(_ROBOTS, headers={"Cache-Control": "public, max-age=3600"})
