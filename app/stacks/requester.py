"""Who requests an operation on a stack: the owner it is for, the actor on record, and the keys they showed."""

import hmac
import json
from dataclasses import dataclass, field

from app.audit import Actor, Role
from app.security.vault import fingerprint
from app.stacks.volumes import KeptFiles


@dataclass(frozen=True)
class Requester:
    """Who requests an operation.

    owner: whose the stack will be; actor: who did it, for the record; trigger: user, api or cli; key_hash: fingerprint
    of the manage key that was sent, if one was.
    """

    owner: str
    actor: Actor
    trigger: str
    key_hash: str | None = field(default=None, repr=False)

    @property
    def is_operator(self) -> bool:
        """Whether it is an operator, whom the limits of an owner do not hold."""
        return self.actor.role is Role.OPERATOR

    def fingerprint_of(self, idempotency_key: str) -> str:
        """Hash an Idempotency-Key for storing, with who sent it: the answer that it repeats holds a manage key.

        Those who have shown nothing are one, and have only their keys, which nobody is to guess.
        """
        return fingerprint(json.dumps([self.owner or self.key_hash or "", idempotency_key]))

    def may_use(self, kept: KeptFiles) -> bool:
        """Whether files that were kept are his: by the owner, or by the manage key of the stack that had them."""
        by_key = self.key_hash is not None and hmac.compare_digest(self.key_hash, kept.manage_key_hash)
        return by_key or (bool(self.owner) and self.owner == kept.owner)
