"""The pages for people, a room for each kind; `router` has those that everybody sees."""

from fastapi import APIRouter

from app.web.pages import choices, deploying, deployment, operator, record, signing_in, stacks

router = APIRouter(include_in_schema=False)
for room in (deploying, deployment, record, stacks, choices, signing_in, operator):
    router.include_router(room.router)
