"""Authorization: one table of every route, and the one place that enforces it, for pages and API alike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, Literal

import structlog
from fastapi import Depends, FastAPI, Path, Request
from fastapi.routing import iter_route_contexts

from app.audit import Action, Means
from app.deployments.model import DeploymentRecord
from app.errors import PortalError
from app.identity import Ownership, Principal, Scope, nobody
from app.ids import could_be_id
from app.operations.table import OPERATIONS
from app.portal import Portal
from app.stacks.model import StackRecord, StackView, Whose
from app.stacks.names import MAX_NAME, could_be_name, normalize_name
from app.stacks.volumes import KeptFiles
from app.store.paging import Page, PageRequest, no_rows
from app.web.deps import (
    address_of,
    identify,
    may_be_guess,
    must_be_from_here,
    must_say_where_from,
    portal_of,
    principal_of,
)
from app.web.rate_limits import limit_actor, limit_deploys, limits_of

log = structlog.get_logger()


class Who(Enum):
    """Whom a route is for, before it is asked what of it is his."""

    UNASKED = "unasked"
    """Everybody, and nobody is recognised: it has to answer while the store is away."""
    EVERYBODY = "everybody"
    """Everybody; who it is only changes what he sees."""
    VISITOR = "visitor"
    """Everybody where AUTH_MODE is open; else whoever has signed in, and his tokens."""
    PERSON = "person"
    """A visitor, but no program: what a token may do must not depend on another token."""
    OPERATOR = "operator"
    """Operators, and their tokens with `admin`."""


Of = Literal["stack", "kept", "stack_or_kept", "deployment"]


@dataclass(frozen=True)
class Rule:
    """What is decided for one route.

    scope: what a token needs; of: what in the path has to be the caller's; action: what it changes, for the audit
    trail. What is not the caller's is not there for him where a route only shows it, and refused where it changes it.
    """

    who: Who
    scope: Scope | None = None
    of: Of | None = None
    action: Action | None = None

    @property
    def begins_deployment(self) -> bool:
        """Whether it counts as a request for a deployment, as the operations table says of its action."""
        return self.action in _DEPLOYS


_DEPLOYS: Final = frozenset(each.action for each in OPERATIONS.values() if each.counts_as_in_flight)


_UNASKED: Final = Rule(Who.UNASKED)
_EVERYBODY: Final = Rule(Who.EVERYBODY)
_OPERATOR: Final = Rule(Who.OPERATOR, Scope.ADMIN)
_PERSON: Final = Rule(Who.PERSON)
_DEPLOY: Final = Rule(Who.VISITOR, Scope.DEPLOY_START)
_READ_DEPLOYMENT: Final = Rule(Who.VISITOR, Scope.DEPLOY_READ, "deployment")
_READ_STACKS: Final = Rule(Who.VISITOR, Scope.STACK_READ)
_READ_STACK: Final = Rule(Who.VISITOR, Scope.STACK_READ, "stack")


def _changes(scope: Scope, of: Of, action: Action) -> Rule:
    return Rule(Who.VISITOR, scope, of, action)


_CANCEL: Final = _changes(Scope.DEPLOY_CANCEL, "deployment", Action.CANCEL)
_REDEPLOY: Final = _changes(Scope.DEPLOY_START, "stack", Action.REDEPLOY)
_PASSWORD: Final = _changes(Scope.STACK_MANAGE, "stack", Action.CHANGE_PASSWORD)
_REMOVE: Final = _changes(Scope.STACK_DELETE, "stack", Action.REMOVE)
_OFFER: Final = _changes(Scope.STACK_MANAGE, "stack", Action.OFFER)
_TAKE_OVER: Final = Rule(Who.VISITOR, Scope.STACK_MANAGE, action=Action.TAKE_OVER)
_MAKE_TOKEN: Final = Rule(Who.PERSON, action=Action.MAKE_TOKEN)
_REVOKE_TOKEN: Final = Rule(Who.PERSON, action=Action.REVOKE_TOKEN)

RULES: Final[Mapping[str, Rule]] = {
    # The API
    "GET /health": _UNASKED,
    "GET /ready": _UNASKED,
    "GET /api/check/{name:text}": _DEPLOY,
    "POST /api/plan": _DEPLOY,
    "POST /api/deploy": Rule(Who.VISITOR, Scope.DEPLOY_START, action=Action.DEPLOY),
    "GET /api/deployments/{deployment_id}": _READ_DEPLOYMENT,
    "GET /api/deployments/{deployment_id}/events": _READ_DEPLOYMENT,
    "POST /api/deployments/{deployment_id}/cancel": _CANCEL,
    "GET /api/deployments": _OPERATOR,
    "GET /api/stacks": _READ_STACKS,
    "GET /api/kept-files": _READ_STACKS,
    "GET /api/stack/{name}": _READ_STACK,
    "GET /api/stack/{name}/deployments": Rule(Who.VISITOR, Scope.DEPLOY_READ, "stack"),
    "POST /api/stack/{name}/redeploy": _REDEPLOY,
    "POST /api/stack/{name}/password": _PASSWORD,
    "DELETE /api/stack/{name}": _changes(Scope.STACK_DELETE, "stack_or_kept", Action.REMOVE),
    "POST /api/stack/{name}/offer": _OFFER,
    "POST /api/take-over": _TAKE_OVER,
    "GET /api/tokens": _PERSON,
    "POST /api/tokens": _MAKE_TOKEN,
    "DELETE /api/tokens/{token_id}": _REVOKE_TOKEN,
    "GET /api/leftovers": _OPERATOR,
    "GET /api/audit": _OPERATOR,
    "GET /api/overview": _OPERATOR,
    # The pages
    "GET /": _DEPLOY,
    "HEAD /": _DEPLOY,
    "GET /deploy": _EVERYBODY,
    "POST /deploy": Rule(Who.VISITOR, Scope.DEPLOY_START, action=Action.DEPLOY),
    "GET /deployments/{deployment_id}": _READ_DEPLOYMENT,
    "GET /deployments/{deployment_id}/record": _READ_DEPLOYMENT,
    "POST /deployments/{deployment_id}/cancel": _CANCEL,
    "GET /stacks": _READ_STACKS,
    "GET /stacks/{name}": _READ_STACK,
    "GET /stacks/{name}/redeploy": Rule(Who.VISITOR, Scope.DEPLOY_START, "stack"),
    "POST /stacks/{name}/redeploy": _REDEPLOY,
    "GET /stacks/{name}/delete": Rule(Who.VISITOR, Scope.STACK_DELETE, "stack"),
    "POST /stacks/{name}/delete": _REMOVE,
    "GET /stacks/{name}/password": Rule(Who.VISITOR, Scope.STACK_MANAGE, "stack"),
    "POST /stacks/{name}/password": _PASSWORD,
    "GET /stacks/{name}/erase": Rule(Who.VISITOR, Scope.STACK_DELETE, "kept"),
    "POST /stacks/{name}/erase": _changes(Scope.STACK_DELETE, "kept", Action.ERASE_KEPT),
    "GET /stacks/{name}/offer": Rule(Who.VISITOR, Scope.STACK_MANAGE, "stack"),
    "POST /stacks/{name}/offer": _OFFER,
    "GET /take-over": Rule(Who.VISITOR, Scope.STACK_MANAGE),
    "POST /take-over": _TAKE_OVER,
    "GET /account": _PERSON,
    "POST /account/sign-out-everywhere": Rule(Who.PERSON, action=Action.SIGN_OUT_EVERYWHERE),
    "GET /account/tokens": _PERSON,
    "POST /account/tokens": _MAKE_TOKEN,
    "POST /account/tokens/{token_id}/revoke": _REVOKE_TOKEN,
    "GET /operator": _OPERATOR,
    "GET /operator/audit": _OPERATOR,
    "GET /operator/audit.jsonl": _OPERATOR,
    "POST /theme": _EVERYBODY,
    "GET /sign-in": _EVERYBODY,
    "POST /sign-in": Rule(Who.EVERYBODY, action=Action.SIGN_IN),
    "GET /sign-in/provider": _EVERYBODY,
    "GET /sign-in/callback": Rule(Who.EVERYBODY, action=Action.SIGN_IN),
    "POST /sign-out": Rule(Who.EVERYBODY, action=Action.SIGN_OUT),
    "GET /signed-out": _EVERYBODY,
    # For machines and developers
    "GET /docs": _EVERYBODY,
    "GET /openapi.json": _UNASKED,
    "HEAD /openapi.json": _UNASKED,
    "GET /robots.txt": _UNASKED,
    "HEAD /robots.txt": _UNASKED,
}


def routes_of(app: FastAPI) -> Iterator[str]:
    """Every route of an application, as the table names it; files below /static are everybody's, and none."""
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            yield f"{method} {route.path}"


async def authorize(request: Request) -> None:
    """Hold a request to its rule: recognise the caller, find what the path names, and see that it is his.

    A dependency of the whole application. Leaves `principal`, and `stack` or `deployment`, in the request's state.
    Raises PortalError: `cross_site`, `token_expired`, `token_revoked`, `not_admitted`, `sign_in_needed`,
    `operator_only`, `not_operator`, `person_only`, `scope_missing`, `credential_missing`, `credential_wrong`,
    `stack_not_found`, `deployment_not_found`.
    """
    route: Any = request.scope["route"]
    rule = RULES[f"{request.method} {route.path}"]
    request.state.rule = rule
    if rule.begins_deployment:
        # Before anything is looked up for it.
        await limit_deploys(request)
    if rule.who is Who.UNASKED:
        return
    principal = await _recognise(request, rule)
    portal = portal_of(request)
    if principal.key_hash is not None and not await portal.records.knows_key(principal.key_hash):
        await limits_of(request).wrong_credential.count(address_of(request) or "")
        # Nobody is to act as nobody who thinks that he has shown who he is; nor to learn which names there are.
        if rule.who is Who.VISITOR and (rule.of is None or not _is_open(portal)):
            raise PortalError("credential_unknown")
    _must_be(rule, principal, is_open=_is_open(portal))
    if rule.scope is not None and principal.is_known:
        principal.must(rule.scope)
    await _find(request, portal, rule, principal)


async def _recognise(request: Request, rule: Rule) -> Principal:
    """Leave the caller in the request's state: nobody, from somewhere, until he is recognised."""
    request.state.principal = nobody(address_of(request))
    changes = request.method not in {"GET", "HEAD"}
    if changes:
        must_be_from_here(request)
    if may_be_guess(request):
        await limits_of(request).wrong_credential.check(address_of(request) or "")
    try:
        principal = await identify(request)
    except PortalError:
        if rule.who is not Who.EVERYBODY:
            raise
        return principal_of(request)
    request.state.principal = principal
    if principal.has_credential:
        await limit_actor(request, principal.counted_as, deploys=rule.begins_deployment)
        if changes:
            must_say_where_from(request)
    return principal


async def _find(request: Request, portal: Portal, rule: Rule, principal: Principal) -> None:
    """Find what the path names, and see that it is the caller's."""
    name = request.path_params.get("name", "")
    if rule.of in {"kept", "stack_or_kept"} and (kept := await _files_under(portal, principal, name)):
        request.state.kept = kept
    elif rule.of == "kept":
        raise PortalError("stack_not_found", name=name[:MAX_NAME])
    elif rule.of in {"stack", "stack_or_kept"}:
        request.state.stack = await _stack(portal, principal, rule, name)
    elif rule.of == "deployment":
        request.state.deployment = await _deployment(portal, principal, rule, request.path_params["deployment_id"])


def _must_be(rule: Rule, principal: Principal, *, is_open: bool) -> None:
    match rule.who:
        case Who.OPERATOR if not principal.is_operator:
            if principal.actor.means is Means.TOKEN:
                raise PortalError("scope_missing", scope=Scope.ADMIN.value)
            if principal.actor.means is Means.MANAGE_KEY:
                raise PortalError("token_wrong")
            raise PortalError("not_operator" if principal.is_known else "operator_only")
        case Who.PERSON if not principal.is_person:
            raise PortalError("person_only")
        case Who.VISITOR | Who.PERSON if not is_open and not principal.is_known:
            # A manage key opens its own stack in every mode, and is looked at with it.
            if principal.key_hash is None or rule.of is None:
                raise PortalError("sign_in_needed")


async def _stack(portal: Portal, principal: Principal, rule: Rule, name: str) -> StackRecord:
    wanted = normalize_name(name)
    found = await portal.records.find_stack(wanted) if could_be_name(wanted) else None
    if found is not None and principal.owns(Ownership(found.owner, found.manage_key_hash)):
        return found
    # That a name is taken, whoever may deploy learns from the form; a key that is another stack's, from nobody.
    if found is not None and rule.action is not None and (principal.is_known or _is_open(portal)):
        raise PortalError("credential_wrong" if principal.has_credential else "credential_missing")
    raise PortalError("stack_not_found", name=wanted[:MAX_NAME])


def _is_open(portal: Portal) -> bool:
    return portal.settings.auth_mode == "open"


async def _deployment(portal: Portal, principal: Principal, rule: Rule, deployment_id: str) -> DeploymentRecord:
    found = await find_deployment(portal, deployment_id)
    if owns_deployment(principal, found):
        return found
    if not _is_open(portal):
        raise PortalError("deployment_not_found")
    if rule.action is not None:
        raise PortalError("credential_wrong" if principal.has_credential else "credential_missing")
    # Without accounts whoever was given the address may look: nobody can guess it, and it shows no secret.
    return found


StackName = Annotated[str, Path(description="The stack's name.")]
DeploymentId = Annotated[str, Path(description="The deployment's id, as POST /api/deploy answers it.")]


def whose_stacks(principal: Principal) -> Whose | None:
    """Which stacks a caller manages; None: none. A token, where one was sent, counts alone."""
    if principal.is_operator:
        return Whose()
    if principal.key_hash is not None:
        return Whose(key_hash=principal.key_hash)
    return Whose(owner=principal.owner) if principal.owner is not None else None


async def stacks_of(portal: Portal, principal: Principal, request: PageRequest) -> Page[StackView]:
    """Return the stacks that a caller manages, newest first."""
    whose = whose_stacks(principal)
    return no_rows(request) if whose is None else await portal.records.stack_views(whose, request)


async def files_of(portal: Portal, principal: Principal, request: PageRequest) -> Page[KeptFiles]:
    """Return the kept files of a caller's removed stacks, latest first."""
    whose = whose_stacks(principal)
    return no_rows(request) if whose is None else await portal.records.kept_files(whose, request)


async def _files_under(portal: Portal, principal: Principal, name: str) -> KeptFiles | None:
    """Return the files kept of the caller's last stack of a name."""
    whose, wanted = whose_stacks(principal), normalize_name(name)
    found = await portal.records.kept_under(wanted, whose) if whose is not None and could_be_name(wanted) else []
    return found[0] if found else None


def stack_of(request: Request, name: StackName) -> StackRecord:  # noqa: ARG001 - `authorize` has read it
    """Return the stack that the path names, which `authorize` has found to be the caller's."""
    stack: StackRecord = request.state.stack
    return stack


def kept_of(request: Request, name: StackName) -> KeptFiles:  # noqa: ARG001 - as above
    """Return the kept files of the stack that the path names, which `authorize` has found to be the caller's."""
    kept: KeptFiles = request.state.kept
    return kept


def stack_or_kept_of(request: Request, name: StackName) -> StackRecord | KeptFiles:  # noqa: ARG001 - as above
    """Return the stack that the path names, or its kept files where it is removed."""
    found: StackRecord | KeptFiles = getattr(request.state, "kept", None) or request.state.stack
    return found


def deployment_of(request: Request, deployment_id: DeploymentId) -> DeploymentRecord:  # noqa: ARG001 - as above
    """Return the deployment that the path names, which `authorize` has found to be visible to the caller."""
    deployment: DeploymentRecord = request.state.deployment
    return deployment


StackDep = Annotated[StackRecord, Depends(stack_of)]
KeptDep = Annotated[KeptFiles, Depends(kept_of)]
StackOrKeptDep = Annotated[StackRecord | KeptFiles, Depends(stack_or_kept_of)]
DeploymentDep = Annotated[DeploymentRecord, Depends(deployment_of)]


async def find_deployment(portal: Portal, deployment_id: str) -> DeploymentRecord:
    """Read a deployment. Raises PortalError `deployment_not_found`."""
    record = await portal.records.deployment(deployment_id) if could_be_id(deployment_id) else None
    if record is None:
        raise PortalError("deployment_not_found")
    return record


def owns_deployment(principal: Principal, record: DeploymentRecord) -> bool:
    """Whether the stack that a deployment changed is the caller's."""
    return principal.owns(Ownership(record.owner_of_stack, record.manage_key_hash))
