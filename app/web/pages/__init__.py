"""The pages for people, a room for each kind; `router` has them all."""

from fastapi import APIRouter

from app.web.pages import choices, crawlers, deploying, deployment, stacks

router = APIRouter(include_in_schema=False)
for room in (deploying, deployment, stacks, choices, crawlers):
    router.include_router(room.router)
