"""The router of all pages, and of what crawlers read of them."""

from fastapi import APIRouter

from app.web.ui.account import routes as account
from app.web.ui.api_docs import routes as api_docs
from app.web.ui.audit import routes as audit
from app.web.ui.crawlers import routes as crawlers
from app.web.ui.deploy import routes as deploy
from app.web.ui.deployment import routes as deployment
from app.web.ui.operator import routes as operator
from app.web.ui.record import routes as record
from app.web.ui.sign_in import provider
from app.web.ui.sign_in import routes as sign_in
from app.web.ui.stacks import routes as stacks
from app.web.ui.theme import routes as theme
from app.web.ui.transfer import routes as transfer

router = APIRouter(include_in_schema=False)
for feature in (
    deploy,
    deployment,
    record,
    stacks,
    transfer,
    theme,
    sign_in,
    provider,
    account,
    operator,
    audit,
    api_docs,
    crawlers,
):
    router.include_router(feature.router)
