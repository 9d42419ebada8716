"""The form of the operations table: what there is to know of a verb, apart from the code of its steps.

Everything that treats one verb otherwise than another reads it here. No field has a default, so that a new verb decides
each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StepDeclaration:
    """What a step is called and said to do, before anything is known of its code.

    name: in the store and on the wire. label: what people read. purpose: what it is for, in at most four words.
    started, succeeded: the sentences of its events.
    """

    name: str
    label: str
    purpose: str
    started: str
    succeeded: str


@dataclass(frozen=True)
class Headings:
    """What the page of a deployment is headed with, with `{name}` for the stack: while it runs, and how it ended."""

    running: str
    succeeded: str
    failed: str


@dataclass(frozen=True)
class Operation:
    """A verb on a stack.

    kind: its name, in the store and on the wire. steps: its steps, in reading order. compensates: whether a failure
    takes back what the run did. may_leave_leftovers: whether what a failed run leaves in Dokploy is to go, so that it
    is listed and its removal retried. begins_stack: whether the stack exists by it. ends_stack: whether the stack and
    its name are gone by it. needs_running_stack: whether the stack stands before it and after it, also where it
    fails. changes_container: whether it starts a container from the plan and the secrets. can_be_canceled: also at
    its last step. counts_as_in_flight: whether it takes a place among the deployments of its owner and of the portal.
    scope: what an access token needs for it. action: its name on the audit trail. label: what stands for it in a
    list. headings: of its page. told_as: the verb whose name stands in the keys of its steps' sentences. sentences:
    of its other events, by key.
    """

    kind: str
    steps: tuple[StepDeclaration, ...]
    compensates: bool
    may_leave_leftovers: bool
    begins_stack: bool
    ends_stack: bool
    needs_running_stack: bool
    changes_container: bool
    can_be_canceled: bool
    counts_as_in_flight: bool
    scope: str
    action: str
    label: str
    headings: Headings
    told_as: str
    sentences: Mapping[str, str]

    @property
    def step_names(self) -> tuple[str, ...]:
        """Names of its steps, in reading order."""
        return tuple(step.name for step in self.steps)
