"""The pages for people, a room for each kind; `router` has those that everybody sees."""

from fastapi import APIRouter

from app.web.pages import at_provider, choices, deploying, deployment, operator, record, signing_in, stacks

router = APIRouter(include_in_schema=False)
for room in (deploying, deployment, record, stacks, choices, signing_in, at_provider, operator):
    router.include_router(room.router)
