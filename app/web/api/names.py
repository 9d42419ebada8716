"""Names: whether one is available."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from starlette.convertors import PathConvertor, register_url_convertor

from app.errors import N_, PortalError
from app.stacks.names import normalize_name, parse_name
from app.web.api.openapi import LANG
from app.web.api.schemas.names import CheckAnswer
from app.web.deps import LanguageDep, PortalDep, PrincipalDep, requester_of
from app.web.problems import show


class _AnyText(PathConvertor):
    """Whatever somebody types, slashes and line ends too; Starlette's own `path` knows no line ends."""

    regex = "(?s:.*)"


register_url_convertor("text", _AnyText())


router = APIRouter()


@router.get("/api/check/{name:text}", tags=["names"], openapi_extra={"parameters": [LANG]})
async def check(
    name: Annotated[str, Path(description="The name to check.")],
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    response: Response,
) -> CheckAnswer:
    """Return whether a name is available to you. Always 200; does not ask Dokploy."""
    response.headers["Cache-Control"] = "no-store"  # an owner is told of his own files
    reserved = portal.settings.reserved_names
    try:
        parsed = parse_name(name, reserved)
    except PortalError as error:
        shown = show(error, language)
        return CheckAnswer(
            name=name[:100],
            normalized=normalize_name(name)[:100],
            valid=False,
            available=False,
            code=error.code,
            message=f"{shown.detail} {shown.hint}",
            suggestions=[],
        )
    found = await portal.names.look(parsed, portal.template, requester_of(principal, "api"))
    if problem := found.problem:
        return CheckAnswer(
            name=name,
            normalized=parsed,
            valid=True,
            available=False,
            code=problem.code,
            message=show(problem, language).detail,
            suggestions=await portal.names.suggest(parsed, reserved, portal.template),
        )
    free = language.text(N_("{host} is free."), {"host": f"{parsed}.{portal.settings.stack_domain_suffix}"})
    if found.files_kept:
        free = f"{free} {language.text(N_('Your files from before are there, and are used again.'))}"
    return CheckAnswer(
        name=name,
        normalized=parsed,
        valid=True,
        available=True,
        files_kept=found.files_kept,
        code=None,
        message=free,
        suggestions=[],
    )
