"""The pages for people, a room for each kind; `router` has those that everybody sees."""

from fastapi import APIRouter

from app.web.pages import (
    account,
    at_provider,
    audit,
    choices,
    deploying,
    deployment,
    handing_over,
    operator,
    record,
    signing_in,
    stacks,
)

router = APIRouter(include_in_schema=False)
for room in (
    deploying,
    deployment,
    record,
    stacks,
    handing_over,
    choices,
    signing_in,
    at_provider,
    account,
    operator,
    audit,
):
    router.include_router(room.router)
