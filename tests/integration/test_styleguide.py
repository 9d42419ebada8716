"""The style page is for developers, and no part of what a portal serves to others."""

from collections.abc import Callable

import pytest

from tests.servers import PortalServer

HTML = {"accept": "text/html"}


def test_the_style_page_is_served_in_development(start_portal: Callable[..., PortalServer]):
    answer = start_portal(app_env="development").client.get("/styleguide", headers=HTML)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "--stop-wash" in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_none_in_production(start_portal: Callable[..., PortalServer], method: str):
    answer = start_portal(app_env="production").client.request(method, "/styleguide", headers=HTML)

    assert answer.status_code == 404
    assert "--stop-wash" not in answer.text
