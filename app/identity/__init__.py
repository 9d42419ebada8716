"""Who is asking, and what of this portal is theirs. Knows no HTTP and no HTML."""

from app.identity.admission import Admission, Admitted, Claims
from app.identity.caller import Caller, Ownership, new_browser_owner
from app.identity.session import SESSION_SECONDS, begin_session, is_session

__all__ = [
    "SESSION_SECONDS",
    "Admission",
    "Admitted",
    "Caller",
    "Claims",
    "Ownership",
    "begin_session",
    "is_session",
    "new_browser_owner",
]
