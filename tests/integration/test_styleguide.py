"""The style page is for developers, and no part of what a portal serves to others."""

import re
from collections.abc import Callable

import pytest

from tests.servers import PortalServer

HTML = {"accept": "text/html"}


def test_the_style_page_is_served_in_development(start_portal: Callable[..., PortalServer]):
    answer = start_portal(app_env="development").client.get("/styleguide", headers=HTML)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "--stop-wash" in answer.text


def test_the_style_page_stays_english_and_the_reader_s_choice_is_kept(start_portal: Callable[..., PortalServer]):
    client = start_portal().client

    answer = client.get("/styleguide?lang=ar", headers=HTML)

    assert answer.headers["content-language"] == "en"
    assert '<html lang="en" dir="ltr"' in re.sub(r"\s+", " ", answer.text)
    assert answer.cookies["lang"] == "ar"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_none_in_production(start_portal: Callable[..., PortalServer], method: str):
    answer = start_portal(app_env="production").client.request(method, "/styleguide", headers=HTML)

    assert answer.status_code == 404
    assert "--stop-wash" not in answer.text
