"""All calls of the API, in one router."""

from fastapi import APIRouter

from app.web.api import deployments, health, names, operators, stacks, tokens, transfers

router = APIRouter()
for noun in (health, names, deployments, stacks, tokens, transfers, operators):
    router.include_router(noun.router)
