"""What the first visit costs: everything that a browser without a cache fetches for the deploy page."""

from urllib.parse import urljoin

import httpx
import pytest

from app.i18n import LANGUAGES
from tests.browser.conftest import Visitors
from tests.servers import PortalServer
from tests.waiting import WAIT_SECONDS

BUDGET = 40_000


@pytest.mark.parametrize("lang", list(LANGUAGES))
def test_the_first_visit_is_small(visit: Visitors, portal: PortalServer, lang: str):
    page = visit(lang=lang)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))

    page.goto(portal.url, wait_until="networkidle")
    # Without a window there is nothing to show an icon in, so it is not fetched.
    icon = urljoin(page.url, page.get_attribute('link[rel="icon"]', "href") or "")

    sizes = {address: weigh(address, lang) for address in dict.fromkeys([*addresses, icon])}
    shown = "\n".join(f"{size:7,} {address}" for address, size in sizes.items())
    print(f"\n{sum(sizes.values()):,} bytes\n{shown}")
    assert len(sizes) >= 5, shown
    assert sum(sizes.values()) <= BUDGET, f"{sum(sizes.values()):,} bytes:\n{shown}"


def weigh(address: str, lang: str) -> int:
    """The bytes of an answer's body on the wire."""
    headers = {"accept": "text/html", "accept-encoding": "gzip", "accept-language": lang}
    answer = httpx.get(address, headers=headers, timeout=WAIT_SECONDS, trust_env=False)
    assert answer.status_code == 200, address
    return answer.num_bytes_downloaded
