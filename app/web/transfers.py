"""Transfer codes, from a form or a program: a wrong one counts as a guess."""

from fastapi import Request

from app.errors import PortalError
from app.stacks.requester import Requester
from app.stacks.transfer import TakenOver
from app.web.deps import address_of, portal_of
from app.web.rate_limits import limits_of


async def take(request: Request, requester: Requester, code: str) -> TakenOver:
    """Take over for a form or a program; a code that does not fit counts as a guess. Raises PortalError."""
    limit, address = limits_of(request).wrong_credential, address_of(request) or ""
    await limit.check(address)
    try:
        return await portal_of(request).transfers.take(code.strip(), requester)
    except PortalError as error:
        if error.code == "offer_invalid":
            await limit.count(address)
        raise
