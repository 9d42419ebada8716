"""The operator's page and the way to it: a session that ends, guesses that are bounded, and nothing for anybody else."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from app.i18n import LANGUAGES
from app.ids import new_id
from app.security.vault import Vault, fingerprint
from tests.integration.conftest import Servers
from tests.integration.holding import UNHURRIED
from tests.integration.test_failures import new_name
from tests.integration.test_http import FROM_ELSEWHERE, OPERATOR, WRONG, assert_problem
from tests.integration.test_pages import HTML, Page, assert_nothing_inline
from tests.servers import ADMIN_TOKEN, PortalServer, http_client
from tests.waiting import wait_until

# Of `portal_settings`.
SECRET_KEY = "a-key-that-is-only-for-tests"
_ADDRESSES = (f"203.0.113.{number}" for number in count(1))


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


@pytest.fixture
def portal(servers: Servers) -> PortalServer:
    return servers.portal


def visitor(portal: PortalServer, address: str | None = None) -> httpx.Client:
    """A browser of its own, at an address of its own: guesses are counted by that."""
    headers = {**HTML, "sec-fetch-site": "same-origin", "x-forwarded-for": address or next(_ADDRESSES)}
    return http_client(base_url=portal.url, headers=headers)


@pytest.fixture
def browser(portal: PortalServer) -> Iterator[httpx.Client]:
    with visitor(portal) as client:
        yield client


@pytest.fixture
def operator(portal: PortalServer) -> Iterator[httpx.Client]:
    with visitor(portal) as client:
        sign_in(client)
        yield client


def sign_in(browser: httpx.Client, token: str = ADMIN_TOKEN, **fields: str) -> httpx.Response:
    return browser.post("/sign-in", data={"token": token, **fields})


def session(
    portal: PortalServer, *, left: float = 3600, token: str = ADMIN_TOKEN, key: str = SECRET_KEY
) -> dict[str, str]:
    """The header of a browser whose session counts for so many seconds more, as a portal with that key has begun it."""
    secret, now = f"secret-{next(_ADDRESSES)}", datetime.now(UTC)
    with sqlite3.connect(portal.database) as database:
        database.execute(
            "INSERT INTO session (id, hash, bound_to, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
            (
                new_id(),
                fingerprint(secret),
                fingerprint(token),
                now.replace(tzinfo=None).isoformat(" "),
                (now + timedelta(seconds=left)).replace(tzinfo=None).isoformat(" "),
            ),
        )
    database.close()
    return {"cookie": f"asd_session={Vault([key]).sign(secret, 'asd_session')}"}


# The way in and out


def test_from_the_foot_of_a_page_to_the_numbers_and_out(portal: PortalServer, browser: httpx.Client):
    first = Page(browser.get("/"))
    assert len(first.all("a", href="/operator")) == 1

    sent_on = browser.get("/operator")
    assert (sent_on.status_code, sent_on.headers["location"]) == (303, "/sign-in?next=/operator")
    form = Page(browser.get(sent_on.headers["location"]))
    assert form.all("form", method="post", action="/sign-in")
    assert form.all("input", type="password", name="token")
    assert form.all("input", name="next")[-1]["value"] == "/operator"
    assert_nothing_inline(form)

    signed_in = sign_in(browser, next="/operator")

    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/operator")
    page = Page(browser.get("/operator"))
    assert page.status == 200
    assert page.all("a", href="/operator", **{"aria-current": "page"})
    assert page.all("form", method="post", action="/sign-out")
    assert_nothing_inline(page)
    assert len(Page(browser.get("/")).all("a", href="/operator")) == 2, "above, too"
    # Whoever is signed in is not asked again.
    assert browser.get("/sign-in").headers["location"] == "/operator"

    signed_out = browser.post("/sign-out")

    assert (signed_out.status_code, signed_out.headers["location"]) == (303, "/?done=signed-out")
    assert "You have signed out here." in Page(browser.get("/?done=signed-out")).words
    assert browser.get("/operator").status_code == 303
    assert "Your session has ended." not in Page(browser.get("/sign-in")).words


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_tells_nothing(start_portal):
    for app_env, secure in (("production", True), ("development", False)):
        portal: PortalServer = start_portal(app_env=app_env)
        (cookie,) = sign_in(portal.client).headers.get_list("set-cookie")
        name, _, rest = cookie.partition("=")
        value, *attributes = rest.split("; ")

        assert name == ("__Host-asd_session" if secure else "asd_session")
        assert ADMIN_TOKEN not in value
        kept = {each.lower() for each in attributes}
        assert {"httponly", "samesite=lax", "path=/", f"max-age={(12 + 24) * 3600}"} <= kept
        assert ("secure" in kept) is secure
        portal.stop()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_wrong_token_is_refused_with_the_reason(portal: PortalServer, browser: httpx.Client, lang: str):
    answer = browser.post("/sign-in", data={"token": "hunter2-hunter2", "next": "/docs"}, params={"lang": lang})

    page = Page(answer)
    assert (page.status, page.language[0]) == (403, lang)
    assert "asd_session" not in answer.headers.get("set-cookie", "")
    assert LANGUAGES[lang].text("This is not the operator's token.") in page.words
    assert page.all("input", name="token")[0]["aria-invalid"] == "true"
    assert page.all("input", name="next")[-1]["value"] == "/docs"
    assert "hunter2" not in page.html
    assert page.all("a", hreflang="nl")[0]["href"] == "/sign-in?lang=nl"
    assert browser.get("/operator").status_code == 303


@pytest.mark.parametrize("token", ["", " ", ADMIN_TOKEN[:-1], ADMIN_TOKEN + "x", ADMIN_TOKEN.upper(), "é", "\0"])
def test_what_is_not_quite_the_token(browser: httpx.Client, token: str):
    assert sign_in(browser, token).status_code == 403


def test_a_token_that_was_pasted_with_a_blank(browser: httpx.Client):
    assert sign_in(browser, f" {ADMIN_TOKEN}\n").status_code == 303


def test_without_a_token_nobody_signs_in(start_portal):
    portal = start_portal(admin_token=None)

    page = Page(portal.client.get("/sign-in", headers=HTML))
    assert page.status == 200
    assert "ADMIN_TOKEN" in page.words
    assert not page.all("input", name="token")
    for token in ("", "None", ADMIN_TOKEN):
        refused = sign_in(portal.client, token)
        assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    left = session(portal)
    assert portal.client.get("/operator", headers={**HTML, **left}).status_code == 303
    assert_problem(portal.client.get("/api/overview", headers=left), 401, "operator_only")


@pytest.mark.parametrize(
    ("wanted", "location"),
    [
        ("/docs", "/docs"),
        ("/stacks/ada/delete?lang=nl", "/stacks/ada/delete?lang=nl"),
        ("", "/operator"),
        ("//evil.example", "/operator"),
        ("/\\evil.example", "/operator"),
        ("https://evil.example", "/operator"),
        ("javascript:alert(1)", "/operator"),
        ("/\t/evil.example", "/operator"),
        ("/x\r\nset-cookie: a=b", "/operator"),
    ],
)
def test_signing_in_leads_nowhere_else(portal: PortalServer, browser: httpx.Client, wanted: str, location: str):
    asked = Page(browser.get("/sign-in", params={"next": wanted}))
    assert asked.all("input", name="next")[-1]["value"] == location

    assert sign_in(browser, next=wanted).headers["location"] == location
    assert browser.get("/sign-in", params={"next": wanted}).headers["location"] == location


# The end of a session


@pytest.mark.parametrize(
    "ended",
    [{"left": -1}, {"token": "the-token-before-this-one"}, {"key": "another-key-than-this-portals"}, None],
    ids=["too old", "another token", "another key", "forged"],
)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_session_that_has_ended_says_so_and_is_dropped(portal: PortalServer, ended: dict[str, Any] | None, lang: str):
    headers = {"cookie": "asd_session=operator"} if ended is None else session(portal, **ended)
    with visitor(portal) as browser:
        browser.cookies.set("asd_session", headers["cookie"].partition("=")[2], domain="127.0.0.1")
        browser.cookies.set("lang", lang)
        assert browser.get("/operator").headers["location"] == "/sign-in?next=/operator"
        # What only the operator could see leads there as well.
        assert browser.get("/stacks/somebodys").headers["location"] == "/sign-in?next=/stacks/somebodys"
        assert_problem(
            portal.client.get("/api/overview", headers={**headers, "accept-language": lang}),
            401,
            "operator_only",
            lang,
        )

        page = Page(browser.get("/sign-in?next=/operator"))

        assert LANGUAGES[lang].text("Your session has ended.") in page.words
        assert "asd_session" not in browser.cookies
        assert LANGUAGES[lang].text("Your session has ended.") not in Page(browser.get("/sign-in")).words


@pytest.mark.parametrize("hours", [1, 12])
def test_a_session_lasts_for_as_long_as_is_set(start_portal, hours: int):
    portal: PortalServer = start_portal(session_hours=hours)
    with visitor(portal) as browser:
        sign_in(browser)
    with sqlite3.connect(portal.database) as database:
        ((began, ends),) = database.execute("SELECT created_at, expires_at FROM session").fetchall()
    database.close()

    assert datetime.fromisoformat(ends) - datetime.fromisoformat(began) == timedelta(hours=hours)
    assert portal.client.get("/operator", headers={**HTML, **session(portal, left=60)}).status_code == 200


def test_a_cookie_that_was_copied_counts_no_more_once_its_owner_has_left(portal: PortalServer):
    with visitor(portal) as browser:
        sign_in(browser)
        copied = {"cookie": f"asd_session={browser.cookies['asd_session']}"}
        assert portal.client.get("/api/overview", headers=copied).status_code == 200
        browser.post("/sign-out")

    assert_problem(portal.client.get("/api/overview", headers=copied), 401, "operator_only")


def test_a_cookie_of_which_one_letter_was_changed_is_nobodys(portal: PortalServer, browser: httpx.Client):
    sign_in(browser)
    value = browser.cookies["asd_session"]
    for place in range(0, len(value) - 1, 3):
        changed = value[:place] + ("A" if value[place] != "A" else "B") + value[place + 1 :]
        assert portal.client.get("/api/overview", headers={"cookie": f"asd_session={changed}"}).status_code == 401


def test_another_token_ends_every_session(start_portal):
    before: PortalServer = start_portal()
    with visitor(before) as browser:
        sign_in(browser)
        cookie = {"cookie": f"asd_session={browser.cookies['asd_session']}"}
    assert before.client.get("/api/overview", headers=cookie).status_code == 200
    before.stop()

    after: PortalServer = start_portal(admin_token="another-token-of-the-operator")

    assert after.client.get("/api/overview", headers=cookie).status_code == 401


# What a session may, and nobody else


def test_in_a_session_everything_may_be_seen_and_done(servers: Servers, operator: httpx.Client):
    portal, name = servers.portal, new_name()
    accepted = portal.deploy(name)
    portal.wait(accepted["deploymentId"])

    assert operator.get(f"/api/stack/{name}").json()["password"]
    assert name in {each["name"] for each in operator.get("/api/stacks").json()["items"]}
    assert operator.get("/api/leftovers").json() == {"items": [], "nextCursor": None}
    assert Page(operator.get(f"/deployments/{accepted['deploymentId']}")).all("a", href=f"/stacks/{name}/delete")
    assert operator.get(f"/stacks/{name}/delete").status_code == 200

    removal = operator.post(f"/stacks/{name}/delete", data={"volume": "erase"})

    assert removal.status_code == 303
    record = portal.wait(removal.headers["location"].rpartition("/")[2])
    assert (record["kind"], record["conclusion"], record["actor"]["id"]) == ("remove", "succeeded", "operator")
    servers.emulator.fault("stuck")
    running = portal.deploy(new_name())["deploymentId"]
    assert operator.post(f"/api/deployments/{running}/cancel").status_code == 202
    portal.wait_for(running, "cancel_requested")
    servers.emulator.clear_faults()
    servers.emulator.release(0)  # it may have been stopped before it got there
    assert portal.wait(running)["conclusion"] == "canceled"
    other = portal.deploy(new_name())
    portal.wait(other["deploymentId"])
    assert operator.delete(f"/api/stack/{other['stackName']}").json()["removed"]


def test_the_operator_keeps_his_own_stacks_as_a_browser(portal: PortalServer, operator: httpx.Client):
    name = new_name()
    deployment_id = operator.post("/deploy", data={"name": name}).headers["location"].rpartition("/")[2]
    portal.wait(deployment_id)
    operator.post("/sign-out")

    assert operator.get(f"/api/stack/{name}").status_code == 200


@pytest.mark.parametrize("headers", [*FROM_ELSEWHERE, {}], ids=str)
@pytest.mark.parametrize("more", [{}, {"authorization": "Basic dXNlcjpwYXNzd29yZA=="}], ids=["plain", "behind a login"])
def test_another_site_cannot_use_the_session(
    servers: Servers, operator: httpx.Client, headers: dict[str, str], more: dict[str, str]
):
    """Nor where the browser adds a password of its own, for a proxy in front."""
    portal, name = servers.portal, new_name()
    accepted = portal.deploy(name)
    portal.wait(accepted["deploymentId"])
    plain = {key: value for key, value in operator.headers.items() if key not in {"sec-fetch-site", "accept"}}
    with http_client(base_url=portal.url, headers=plain, cookies=operator.cookies) as tricked:
        for method, path in (
            ("POST", "/sign-out"),
            ("POST", "/sign-in"),
            ("POST", f"/stacks/{name}/delete"),
            ("DELETE", f"/api/stack/{name}"),
            ("POST", f"/deployments/{accepted['deploymentId']}/cancel"),
            ("POST", f"/api/deployments/{accepted['deploymentId']}/cancel"),
            ("POST", "/deploy"),
        ):
            assert_problem(tricked.request(method, path, headers={**headers, **more}), 403, "cross_site")
    assert operator.get(f"/api/stack/{name}").json()["state"] == "running"


def test_a_token_that_was_sent_counts_alone(portal: PortalServer, operator: httpx.Client):
    refused = operator.get("/operator", headers=WRONG)

    assert Page(refused).status == 403
    assert_problem(operator.get("/api/overview", headers=WRONG), 403, "token_wrong")
    page = Page(portal.client.get("/operator", headers={**HTML, **OPERATOR}))
    assert page.status == 200
    assert not page.all("form", action="/sign-out"), "there is no session to end"


def test_nobody_else_sees_anything(portal: PortalServer, browser: httpx.Client):
    name = new_name()
    browser.post("/deploy", data={"name": name})
    key = {"authorization": f"Bearer {portal.deploy(new_name())['manageKey']}"}

    assert browser.get("/operator").headers["location"] == "/sign-in?next=/operator"
    assert_problem(portal.client.get("/api/overview"), 401, "operator_only")
    assert_problem(browser.get("/api/overview"), 401, "operator_only")
    assert_problem(portal.client.get("/api/overview", headers=key), 403, "token_wrong")
    assert_problem(portal.client.get("/operator", headers=key), 403, "token_wrong")


# Guessing


@pytest.fixture
def guarded(start_portal) -> PortalServer:
    """A portal that counts guesses as it does where nothing is set."""
    portal: PortalServer = start_portal(wrong_credential_rate="10/minute")
    return portal


def guess(browser: httpx.Client, times: int) -> list[int]:
    return [sign_in(browser, f"guess-{number}").status_code for number in range(times)]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_guesses_are_bounded(guarded: PortalServer, lang: str):
    portal = guarded
    with visitor(portal) as browser, visitor(portal) as neighbour:
        browser.cookies.set("lang", lang)
        assert guess(browser, 12) == [403] * 10 + [429] * 2

        refused = sign_in(browser)
        document = sign_in_by_program(portal, browser, lang)

        page = Page(refused)
        assert (page.status, page.language[0]) == (429, lang)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert document["title"] in page.words
        assert document["title"] == LANGUAGES[lang].text("Too many tries")
        assert refused.headers["retry-after"] in page.words
        assert "set-cookie" not in refused.headers
        # Only the one who guessed has to wait, and only with this.
        assert browser.get("/sign-in").status_code == 200
        assert browser.get("/").status_code == 200
        assert sign_in(neighbour).status_code == 303


def sign_in_by_program(portal: PortalServer, browser: httpx.Client, lang: str) -> dict[str, Any]:
    headers = {"x-forwarded-for": browser.headers["x-forwarded-for"], "accept-language": lang}
    answer = portal.client.post("/sign-in", data={"token": ADMIN_TOKEN}, headers=headers)
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    return assert_problem(answer, 429, "too_many_requests", lang)


def test_who_signs_in_rightly_is_not_counted(browser: httpx.Client):
    assert [sign_in(browser).status_code for _ in range(12)] == [303] * 12
    assert guess(browser, 1) == [403]


@pytest.mark.parametrize("path", ["/api/overview", "/api/stack/nobodys", "/docs", "/api/stacks", "/operator"])
def test_guesses_of_a_token_that_is_sent_are_bounded_as_well(guarded: PortalServer, path: str):
    """Wherever they are sent: not even the right one is told from another any more."""
    with visitor(guarded) as browser, visitor(guarded) as neighbour:
        for number in range(10):
            browser.get(path, headers={"authorization": f"Bearer guess-{number}"})

        for token in ("guess-11", ADMIN_TOKEN):
            refused = browser.get(path, headers={"authorization": f"Bearer {token}"})
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert neighbour.get("/api/overview", headers=OPERATOR).status_code == 200
        # Whoever sends none, or the key of a stack of his, goes on.
        assert browser.get("/").status_code == 200


def test_keys_that_open_their_stacks_are_no_guesses(guarded: PortalServer):
    accepted = guarded.deploy(new_name())
    guarded.wait(accepted["deploymentId"])
    key = {"authorization": f"Bearer {accepted['manageKey']}"}

    for _ in range(12):
        assert guarded.client.get(f"/api/stack/{accepted['stackName']}", headers=key).status_code == 200
        assert guarded.client.get("/api/stack/another", headers=key).status_code == 404


def test_a_network_of_ipv6_is_one_address(guarded: PortalServer):
    portal = guarded
    with visitor(portal, "2001:db8:0:1::1") as one, visitor(portal, "2001:db8:0:1:ffff::2") as same:
        assert guess(one, 10) == [403] * 10
        assert guess(same, 1) == [429]
    with visitor(portal, "2001:db8:0:2::1") as other, visitor(portal, "::ffff:198.51.100.1") as mapped:
        assert guess(other, 1) == [403]
        assert guess(mapped, 11) == [403] * 10 + [429]
    with visitor(portal, "::ffff:198.51.100.2") as mapped:
        assert guess(mapped, 1) == [403]


# The numbers


def test_the_operator_is_told_while_there_still_is_room(start_portal):
    portal: PortalServer = start_portal(max_stacks=2, runs=False)
    with visitor(portal) as operator:
        sign_in(operator)
        for name, told in (("ada", False), ("bob", True)):
            portal.deploy(name)

            overview = operator.get("/api/overview").json()
            assert (overview["maxStacks"], overview["nearlyFull"]) == (2, told)
            page = Page(operator.get("/operator"))
            assert ("No places left" in page.words) is told
            assert ("Nobody can deploy until a stack is deleted or MAX_STACKS is raised." in page.words) is told


def test_the_last_places_are_told(start_portal):
    portal: PortalServer = start_portal(max_stacks=10, runs=False)
    with visitor(portal) as operator:
        sign_in(operator)
        for number in range(9):
            portal.deploy(f"ada-{number}")
        page = Page(operator.get("/operator"))
        assert "9 of 10 places for stacks are taken." in page.words
        assert "No places left" not in page.words


def test_whose_the_stacks_are(portal: PortalServer, browser: httpx.Client, operator: httpx.Client):
    name = new_name()
    browser.post("/deploy", data={"name": name})

    page = Page(operator.get("/stacks"))
    assert "All stacks" in page.words
    assert "A browser" in page.words
    assert "All stacks" not in Page(browser.get("/stacks")).words
    assert "A browser" not in Page(browser.get("/stacks")).words
    assert "Its owner loses it" in Page(operator.get(f"/stacks/{name}/offer")).words
    assert "You lose the stack" in Page(browser.get(f"/stacks/{name}/offer")).words


def test_the_numbers_of_the_page_are_those_of_the_api(start_portal, emulator, any_database_url: str):
    portal: PortalServer = start_portal(database_url=any_database_url, undo_timeout_seconds=0.5)
    with visitor(portal) as operator:
        sign_in(operator)
        empty = Page(operator.get("/operator"))
        assert "Nothing has been deployed yet." in empty.words
        assert not empty.all("svg", role="img")
        assert operator.get("/api/overview").json()["success"] is None

        for name in ("ada", "bob"):
            portal.wait(portal.deploy(name)["deploymentId"])
        emulator.fault("fail")
        portal.wait(portal.deploy("failing")["deploymentId"])
        emulator.fault("open")
        emulator.fault("volume_in_use", times=-1)
        left = portal.wait(portal.deploy("leaving")["deploymentId"])
        emulator.fault("stuck")
        waiting = portal.deploy("waiting")["deploymentId"]
        portal.wait_for(waiting, "progressed")

        overview = operator.get("/api/overview").json()
        assert {state: count for state, count in overview["stacks"].items() if count} == {
            "running": 2,
            "deploying": 1,
            "left": 1,
        }
        assert (overview["maxStacks"], overview["nearlyFull"]) == (None, False)
        assert (overview["success"], overview["measured"], len(overview["days"])) == (0.5, 2, 14)
        today = overview["days"][-1]
        assert (today["succeeded"], today["failed"], today["canceled"]) == (2, 2, 0)
        assert overview["medianSeconds"] > 0
        assert [step["name"] for step in overview["steps"]][-2:] == ["deploy", "verify"]
        assert [each["stack"] for each in overview["latest"]] == ["waiting", "leaving", "failing", "bob", "ada"]
        assert [(each["kind"], each["stack"]) for each in overview["leftovers"]] == [("volume", "leaving")]

        page = Page(operator.get("/operator"))
        assert "50%" in page.words
        assert "from the request until it is ready (median)" in page.words
        sentences = [str(each["aria-label"]) for each in page.all("svg", role="img")]
        assert len(sentences) == 14
        assert sentences[-1].endswith(": 2 succeeded, 0 cancelled, 2 failed")
        minis = [(each["data-n"], each["class"]) for each in page.all("span", role="img")]
        assert minis == [("6", "mini"), ("7", "mini undone"), ("6", "mini undone"), ("7", "mini"), ("7", "mini")]
        for words in ("Failed at “Verify”, some of it is left", "Failed at “Deploy”, undone", "Still in use"):
            assert words in page.words
        assert page.all("a", href=f"/deployments/{left['id']}")
        assert ("SQLite" if "sqlite" in any_database_url else "PostgreSQL") in page.words
        # The same from the right.
        arabic = Page(operator.get("/operator", params={"lang": "ar"}))
        assert_nothing_inline(arabic)
        ends = [each["cx"] for each in page.all("circle", **{"class": "l-dot"})]
        assert [100 - float(str(each["cx"])[:-1]) for each in arabic.all("circle", **{"class": "l-dot"})] == (
            pytest.approx([float(str(end)[:-1]) for end in ends], abs=3)
        )


def test_a_time_of_minutes_is_written_as_on_a_clock(start_portal, emulator, database_url: str):
    portal: PortalServer = start_portal()
    portal.wait(portal.deploy("ada")["deploymentId"])
    with sqlite3.connect(database_url.partition("///")[2]) as store:
        store.execute("UPDATE deployment SET created_at = strftime('%Y-%m-%d %H:%M:%f', concluded_at, '-108 seconds')")
    store.close()

    page = Page(portal.client.get("/operator", headers={**HTML, **OPERATOR}))

    assert "1:48" in page.words
    assert "minutes from the request until it is ready (median)" in page.words


def test_the_page_says_how_dokploy_is(start_portal, emulator):
    portal: PortalServer = start_portal(dokploy_api_token="not-the-token")
    with visitor(portal) as operator:
        sign_in(operator)

        def telling() -> Page | None:
            page = Page(operator.get("/operator"))
            return page if "Dokploy refuses the portal" in page.words else None

        page = wait_until(telling)
    assert "sets DOKPLOY_API_TOKEN" in page.words


def test_the_page_names_the_calls_that_do_not_fit(start_portal, emulator):
    emulator.fault("renamed_call", "domain.create", times=-1)
    portal: PortalServer = start_portal()
    with visitor(portal) as operator:
        sign_in(operator)
        misfits = wait_until(lambda: portal.client.get("/health").json()["dokploy"]["incompatible"])
        page = Page(operator.get("/operator"))
    assert misfits[0] in page.words
    assert f"It would not take {len(misfits)} call" in page.words
