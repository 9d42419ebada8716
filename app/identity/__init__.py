"""Who is asking, and what of this portal is theirs. Knows no HTTP and no HTML."""

from app.identity.caller import Caller, Ownership, new_browser_owner

__all__ = ["Caller", "Ownership", "new_browser_owner"]
