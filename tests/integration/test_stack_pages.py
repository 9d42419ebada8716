"""My stacks, one stack, and the record of a deployment, as a browser without JavaScript gets them, each its own."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from app.operations.redeploy import REDEPLOY
from tests.integration.conftest import LEAVES_SOON, Servers
from tests.integration.test_failures import new_name
from tests.integration.test_http import NOBODY, OPERATOR, WRONG, assert_problem, key_of
from tests.integration.test_pages import HTML, Page, assert_nothing_inline, password_of, submit
from tests.integration.test_store import Store
from tests.servers import HERE, Emulator, PortalServer, http_client, requester
from tests.unit.store.test_paging import cursor


def new_browser(portal: PortalServer) -> httpx.Client:
    return http_client(base_url=portal.url, headers={**HTML, **HERE})


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return LEAVES_SOON


@pytest.fixture
def browser(shared_servers: Servers) -> Iterator[httpx.Client]:
    with closing(new_browser(shared_servers.portal)) as client:
        yield client


@pytest.fixture
def stranger(shared_servers: Servers) -> Iterator[httpx.Client]:
    with closing(new_browser(shared_servers.portal)) as client:
        yield client


def deploy(servers: Servers, browser: httpx.Client, *, wait: bool = True) -> tuple[str, str]:
    """Deploy by the form; tell the name, and where its deployment is."""
    name = new_name()
    here = submit(browser, "/deploy", name=name)
    if wait:
        servers.portal.wait(id_of(here))
    return name, here


def id_of(path: str) -> str:
    return path.rpartition("/")[2]


def stacks_on(page: Page) -> list[str]:
    """The names on the board, from top to bottom."""
    links = [str(each["href"]) for each in page.all("a")]
    return [found[1] for link in links if (found := re.fullmatch(r"/stacks/([\w-]+)", link))]


def small_lines(page: Page) -> list[tuple[str | None, ...]]:
    """Each small line: its shape, how far of how many, and the same in words."""
    lines = [each for each in page.all("span", role="img") if str(each["class"]).startswith("mini")]
    return [(each["class"], each["data-n"], each["data-of"], each["aria-label"]) for each in lines]


# My stacks


def test_everybody_sees_their_own(servers: Servers, browser: httpx.Client, stranger: httpx.Client):
    mine = [deploy(servers, browser)[0] for _ in range(2)]
    theirs, _ = deploy(servers, stranger)

    assert stacks_on(Page(browser.get("/stacks"))) == mine[::-1]
    assert stacks_on(Page(stranger.get("/stacks"))) == [theirs]
    with closing(new_browser(servers.portal)) as nobody:
        empty = Page(nobody.get("/stacks"))
    assert stacks_on(empty) == []
    assert "No stacks yet" in empty.words
    everybody = Page(browser.get("/stacks", headers=OPERATOR))
    assert stacks_on(everybody)[:3] == [theirs, *mine[::-1]]
    assert "Everybody's stacks" in everybody.words
    # A token, where one was sent, counts alone.
    assert stacks_on(Page(browser.get("/stacks", headers=WRONG))) == []


def test_a_manage_key_shows_the_one_stack_that_it_manages(servers: Servers, browser: httpx.Client):
    deploy(servers, browser)
    accepted = servers.portal.deploy(new_name())

    assert stacks_on(Page(browser.get("/stacks", headers=key_of(accepted)))) == [accepted["stackName"]]


def test_how_each_of_them_is(servers: Servers, browser: httpx.Client):
    running, _ = deploy(servers, browser)
    servers.emulator.fault("open")
    servers.emulator.fault("volume_in_use", times=-1)
    left, _ = deploy(servers, browser)
    servers.emulator.clear_faults()
    servers.emulator.fault("fail")
    again = submit(browser, f"/stacks/{running}/redeploy")
    servers.portal.wait(id_of(again))
    servers.emulator.fault("stuck")
    deploying, here = deploy(servers, browser, wait=False)
    servers.portal.wait_for(id_of(here), "progressed")

    page = Page(browser.get("/stacks"))

    states = re.findall(r'class="dot"\s+data-s="(\w+)"\s+aria-hidden="true"></span>([^<]+)', page.html)
    assert stacks_on(page) == [deploying, left, running]
    assert states == [("half", "Deploying"), ("failed", "Something is left"), ("failed", "Not deployed again")]
    assert small_lines(page) == [
        ("mini", "6", "7", "In progress. Station 6 of 7."),
        ("mini undone", "7", "7", "Failed at “Verify”, some of it is left. Station 7 of 7."),
        ("mini failed", "5", "6", "Failed at “Deploy”. Station 5 of 6."),
    ]
    assert page.words.count("1.0") >= 3, "the version of each"
    assert "UTC" in page.words
    servers.emulator.release()
    servers.portal.wait(id_of(here))


def test_what_is_gone_is_told_for_a_while(servers: Servers, browser: httpx.Client, stranger: httpx.Client):
    servers.emulator.fault("fail", times=-1)  # whatever else is still under way there
    gone = [deploy(servers, browser) for _ in range(6)]
    servers.emulator.clear_faults()

    removed, _ = deploy(servers, browser)
    removal = submit(browser, f"/stacks/{removed}/delete", volume="erase")
    servers.portal.wait(id_of(removal))

    page = Page(browser.get("/stacks"))

    told = [str(each["href"]) for each in page.all("a") if str(each["href"]).startswith("/deployments/")]
    assert told == [removal, *(here for _, here in gone[:1:-1])], "the last five"
    assert "No stacks now" in page.words
    assert [line[:2] for line in small_lines(page)] == [("mini", "5"), *[("mini undone", "6")] * 4]
    assert "Removed completely" in page.words
    assert "Failed at “Deploy”, undone" in page.words
    assert not [each for each in Page(stranger.get("/stacks")).all("a") if "/deployments/" in str(each["href"])]


@pytest.fixture
def queue_only(start_portal: Callable[..., PortalServer]) -> PortalServer:
    """A portal that takes requests in and runs none of them."""
    return start_portal(runs=False)


def test_many_stacks_are_shown_page_by_page(queue_only: PortalServer):
    with closing(new_browser(queue_only)) as browser:
        names = [f"stack-{number}" for number in range(52)]
        for name in names:
            submit(browser, "/deploy", name=name)

        first = Page(browser.get("/stacks"))
        (older,) = [str(each["href"]) for each in first.all("a", rel="next")]
        second = Page(browser.get(older))

        assert stacks_on(first) + stacks_on(second) == names[::-1]
        assert len(stacks_on(first)) == 50
        (newer,) = [str(each["href"]) for each in second.all("a", rel="prev")]
        assert stacks_on(Page(browser.get(newer))) == stacks_on(first)
        assert not second.all("a", rel="next")
        assert small_lines(first)[0] == ("mini", "1", "7", "In line")
        # Nothing that somebody puts there breaks the page, or shows what is not theirs.
        for made_up in ("x", "%00", "'; drop table stack", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "<script>"):
            page = Page(browser.get("/stacks", params={"cursor": made_up}))
            assert page.status == 400
            assert_nothing_inline(page)
        beyond = cursor(["stacks", "next", 0, NOBODY])
        assert "There are no older stacks." in Page(browser.get(f"/stacks?cursor={beyond}")).words


# One stack


def test_all_about_one_stack(servers: Servers, browser: httpx.Client, stranger: httpx.Client):
    name, here = deploy(servers, browser)

    answer = browser.get(f"/stacks/{name}")
    page = Page(answer)

    assert answer.headers["cache-control"] == "no-store"
    password = password_of(servers.emulator, name)
    assert password in page.words, "it can be read without a script"
    assert page.all("a", href=f"http://{name}.stacks.example")
    assert page.all("svg", role="img", **{"aria-label": f"QR code of the address http://{name}.stacks.example"})
    for words in ("Running", "1.0", "ghcr.io/example/oh-my-opencode:1.0", f"portal-ai-workspace-{name}", "/workspace"):
        assert words in page.words
    assert [each["action"] for each in page.all("form", method="get")] == [
        f"/stacks/{name}/redeploy",
        f"/stacks/{name}/password",
        f"/stacks/{name}/delete",
    ]
    assert page.all("a", href=here)
    assert page.all("a", href=f"{here}/record")
    assert small_lines(page) == [("mini", "7", "7", "Done. Station 7 of 7.")]
    assert f"{name} is ready at" in page.words, "the log"
    assert_nothing_inline(page)

    assert password in Page(browser.get(f"/stacks/{name}", headers=OPERATOR)).words
    for client, headers in ((stranger, {}), (stranger, WRONG), (browser, WRONG)):
        hidden = client.get(f"/stacks/{name}", headers=headers)
        assert hidden.status_code == 404
        assert password not in hidden.text


@pytest.mark.parametrize(
    "name", ["nobody", "a%00b", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "..%2f..", "a" * 3000, "%F0%9F%98%80", "'--"]
)
def test_a_stack_that_there_is_not(servers: Servers, browser: httpx.Client, name: str):
    for path in (f"/stacks/{name}", f"/stacks/{name}/redeploy", f"/stacks/{name}/delete"):
        page = Page(browser.get(path, headers=OPERATOR))
        assert page.status == 404
        assert_nothing_inline(page)
    assert_problem(
        servers.portal.client.post(f"/stacks/{name}/redeploy", headers=OPERATOR),
        404,
        "not_found" if "%2f" in name.lower() else "stack_not_found",
    )


def test_while_something_runs_nothing_else_is_offered(servers: Servers, browser: httpx.Client):
    servers.emulator.fault("stuck")
    name, here = deploy(servers, browser, wait=False)
    servers.portal.wait_for(id_of(here), "progressed")

    page = Page(browser.get(f"/stacks/{name}"))

    assert "A deployment of this stack is under way" in page.words
    assert page.all("a", href=here)
    assert not [each for each in page.all("form") if str(each["action"]).startswith("/stacks/")]
    assert not page.all("input", type="password"), "nothing answers there yet"
    assert Page(browser.get(f"/stacks/{name}/redeploy")).status == 409
    assert Page(browser.post(f"/stacks/{name}/redeploy")).status == 409
    servers.emulator.release()
    servers.portal.wait(id_of(here))


def test_what_is_left_of_a_stack_can_only_be_deleted(servers: Servers, browser: httpx.Client):
    servers.emulator.fault("open")
    servers.emulator.fault("volume_in_use", times=-1)
    name, _ = deploy(servers, browser)

    page = Page(browser.get(f"/stacks/{name}"))

    assert "Something is left" in page.words
    assert [each["action"] for each in page.all("form", method="get")] == [f"/stacks/{name}/delete"]
    assert not page.all("input", type="password")
    assert not page.all("a", href=f"http://{name}.stacks.example")


def test_deploying_again_asks_first_and_keeps_what_is_there(
    servers: Servers, browser: httpx.Client, stranger: httpx.Client
):
    name, _ = deploy(servers, browser)
    password = password_of(servers.emulator, name)

    question = Page(browser.get(f"/stacks/{name}/redeploy"))
    assert f"Deploy {name} again?" in question.words
    assert "Files, password and address stay." in question.words
    assert stranger.get(f"/stacks/{name}/redeploy").status_code == 404
    assert stranger.post(f"/stacks/{name}/redeploy").status_code == 401
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert browser.post(f"/stacks/{name}/redeploy", headers=elsewhere).status_code == 403

    servers.emulator.fault("stuck")
    again = submit(browser, f"/stacks/{name}/redeploy")
    running = Page(browser.get(again))
    assert f"Deploying {name} again" in running.words
    assert "removed again" not in running.words
    assert running.all("form", action=f"{again}/cancel")
    assert not Page(stranger.get(again)).all("form", action=f"{again}/cancel")
    busy = Page(browser.get(f"/stacks/{name}"))
    assert password in busy.words, "it answered before, and may answer still"
    assert not busy.all("form", action=f"/stacks/{name}/redeploy")

    servers.emulator.release()
    record = servers.portal.wait(id_of(again))
    assert (record["kind"], record["trigger"], record["actor"]["id"]) == ("redeploy", "user", "browser")
    ready = Page(browser.get(again))
    assert f"{name} is ready" in ready.words
    assert password in ready.words
    history = small_lines(Page(browser.get(f"/stacks/{name}")))
    assert [line[2:] for line in history] == [("6", "Done. Station 6 of 6."), ("7", "Done. Station 7 of 7.")]


def test_a_redeployment_that_is_stopped_or_fails_says_that_nothing_was_undone(
    servers: Servers, browser: httpx.Client, stranger: httpx.Client
):
    name, _ = deploy(servers, browser)
    servers.emulator.fault("stuck")
    stopped = submit(browser, f"/stacks/{name}/redeploy")
    servers.portal.wait_for(id_of(stopped), "progressed")
    assert submit(browser, f"{stopped}/cancel") == stopped
    servers.portal.wait(id_of(stopped))
    servers.emulator.release()
    servers.emulator.fault("fail")
    failed = submit(browser, f"/stacks/{name}/redeploy")
    servers.portal.wait(id_of(failed))

    for here, words in ((stopped, "Cancelled. What is there was left as it is."), (failed, "What is there was left")):
        page = Page(browser.get(here))
        assert f"{name} was not deployed again" in page.words
        assert words in page.words
        assert "removed again" not in page.words
        assert page.all("a", href=f"/stacks/{name}", **{"class": "btn go"})
        assert not Page(stranger.get(here)).all("a", href=f"/stacks/{name}")
    assert "What you can do" not in Page(stranger.get(stopped)).words, "there is nothing"
    assert [line[0] for line in small_lines(Page(browser.get(f"/stacks/{name}")))] == [
        "mini failed",
        "mini canceled",
        "mini",
    ]


def test_a_long_history_is_shown_page_by_page(queue_only: PortalServer, database_url: str):
    with closing(new_browser(queue_only)) as browser:
        submit(browser, "/deploy", name="ada")

        async def deploy_again_and_again() -> None:
            store = Store(database_url)
            await store.conclude(await store.claim_one())
            stack = await store.records.find_stack("ada")
            assert stack is not None
            for _ in range(51):
                await store.operations.change(REDEPLOY, stack, requester(stack.owner))
                await store.conclude(await store.claim_one())
            await store.database.close()

        asyncio.run(deploy_again_and_again())
        first = Page(browser.get("/stacks/ada"))
        (older,) = [str(each["href"]) for each in first.all("a", rel="next")]
        second = Page(browser.get(older))

        assert [len(small_lines(page)) for page in (first, second)] == [50, 2]
        assert ("First deployment" in first.words, "First deployment" in second.words) == (False, True)
        assert second.all("a", rel="prev")
        for made_up in ("x", NOBODY, "%00", "<script>"):
            page = Page(browser.get("/stacks/ada", params={"cursor": made_up}))
            assert page.status == 400
            assert_nothing_inline(page)


# What is ready


def test_what_next(servers: Servers, browser: httpx.Client, stranger: httpx.Client):
    name, here = deploy(servers, browser)
    address = f"http://{name}.stacks.example"
    label = f"QR code of the address {address}"

    ready, other = Page(browser.get(here)), Page(stranger.get(here))

    assert f"opencode attach {address}" in ready.words
    assert "Keep your work in /workspace" in ready.words
    assert ready.all("a", href=f"/stacks/{name}")
    assert ready.all("a", href=f"{here}/record")
    assert "What next" not in other.words, "who has no password cannot sign in"
    assert not other.all("a", href=f"/stacks/{name}")
    for page in (ready, other):
        assert page.all("svg", role="img", **{"aria-label": label})


# The record


def rows_of(page: Page) -> dict[str, list[str]]:
    """The tables' rows: what stands at their head, and the text of their cells."""
    found: dict[str, list[str]] = {}
    for row in re.findall(r'<tr role="row"[^>]*>(.*?)</tr>', page.html, re.DOTALL):
        texts = [
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", cell)).strip()
            for cell in re.findall(r"<t[hd] [^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        found.setdefault(texts[0], texts[1:])
    return found


def test_the_record_of_a_deployment(servers: Servers, browser: httpx.Client, stranger: httpx.Client):
    name, here = deploy(servers, browser)

    answer = browser.get(f"{here}/record")
    page = Page(answer)

    assert answer.headers["cache-control"] == "no-store"
    rows = rows_of(page)
    assert rows["Name"] == [name] * 3
    assert rows["Address"] == [
        "http://{name}.stacks.example",
        f"http://{name}.stacks.example",
        f"{name}.stacks.example",
    ]
    assert rows["Image"] == ["ghcr.io/example/oh-my-opencode:1.0"] * 2 + ["not recorded"]
    assert rows["Port"] == ["8080"] * 3
    assert rows["Memory"][2] == rows["Processors"][2] == rows["Variables"][2] == "not recorded"
    assert rows["Volume"] == [
        "portal-ai-workspace-{name} → /workspace",
        *[f"portal-ai-workspace-{name} → /workspace"] * 2,
    ]
    assert rows["Certificate"] == ["none", "none, plain http", "none, plain http"]
    assert rows["Variables"][:2] == ["OPENCODE_SERVER_PASSWORD"] * 2
    assert rows["Health check"][2] == "/ → 401"
    assert "differs" not in page.words
    assert rows["Verify"][:2] == ["done", "1"]
    state = servers.emulator.state()
    (project,) = (each for each in state["projects"] if each["name"] == name)
    (domain,) = (each for each in state["domains"] if each["host"] == f"{name}.stacks.example")
    assert rows["Project"][:2] == ["done", "1"], "the step, which stands first"
    assert project["projectId"] in page.words
    assert domain["domainId"] in page.words
    assert "A browser" in page.words
    # One document of it all, to keep.
    download = page.all("a", download=f"{name}-{id_of(here)}.json")
    assert [each["href"] for each in download] == [f"/api/deployments/{id_of(here)}"]
    assert page.all("button", **{"data-copy-fetched": f"/api/deployments/{id_of(here)}"})
    assert_nothing_inline(page)

    # Whoever knows the id may read it; which browser it was, and the password, stand nowhere.
    other = Page(stranger.get(f"{here}/record"))
    assert other.status == 200
    assert not other.all("a", href=f"/stacks/{name}")
    document = stranger.get(f"/api/deployments/{id_of(here)}", headers={"accept": "application/json"}).text
    for text in (page.html, other.html, document):
        assert password_of(servers.emulator, name) not in text
        assert "browser:" not in text


def test_the_record_as_a_document(servers: Servers, browser: httpx.Client):
    name, here = deploy(servers, browser)

    record = servers.portal.record(id_of(here))

    assert record["declared"]["volume"] == "portal-ai-workspace-{name}"
    assert record["declared"]["volumePath"] == record["plan"]["volumePath"] == "/workspace"
    assert {each["kind"]: each["state"] for each in record["resources"]} == dict.fromkeys(
        ("project", "application", "mount", "volume", "domain"), "present"
    )
    application = servers.emulator.state()["applications"][-1]
    seen = {step["name"]: step["seen"] for step in record["steps"]}
    assert seen["project"] == {"project": name}
    assert seen["application"] == {"application": application["appName"]}
    assert (seen["domain"]["host"], seen["domain"]["port"]) == (f"{name}.stacks.example", 8080)
    assert seen["verify"] == {"probePath": "/", "status": 401, "tlsTrouble": False}
    ids = {each["kind"]: each["dokployId"] for each in record["resources"]}
    assert ids["application"] == application["applicationId"]
    assert ids["volume"] is None, "Docker's volumes have none"


def test_the_record_shows_what_was_seen_instead(start_portal: Callable[..., PortalServer], emulator: Emulator):
    servers = Servers(start_portal(verify_timeout_seconds=1), emulator)
    emulator.fault("gateway", times=-1)
    with closing(new_browser(servers.portal)) as browser:
        name, here = deploy(servers, browser)

        page = Page(browser.get(f"{here}/record"))

    assert rows_of(page)["Health check differs"] == ["/, /global/health → 401"] * 2 + ["/global/health → 502"]
    assert page.html.count('class="differs"') == 1
    assert rows_of(page)["Verify"][0] == "failed"
    assert rows_of(page)["Deploy"][0] == "undone"
    assert f"The address {name}" not in page.words, "nothing is left behind"


def test_the_record_of_a_removal_and_of_a_redeployment_has_no_request(servers: Servers, browser: httpx.Client):
    name, _ = deploy(servers, browser)
    again = submit(browser, f"/stacks/{name}/redeploy")
    servers.portal.wait(id_of(again))
    servers.emulator.fault("volume_in_use", times=-1)
    removal = submit(browser, f"/stacks/{name}/delete", volume="erase")
    servers.portal.wait(id_of(removal))

    redeployed, removed = Page(browser.get(f"{again}/record")), Page(browser.get(f"{removal}/record"))

    for page in (redeployed, removed):
        assert "Declared" not in page.words
        assert len(rows_of(page)["Port"]) == 2
    assert rows_of(redeployed)["Port"] == ["8080", "8080"]
    assert rows_of(removed)["Port"] == ["8080", "not recorded"]
    assert f"The volume portal-ai-workspace-{name}" in removed.words
    assert servers.portal.record(id_of(removal))["declared"] is None


@pytest.mark.parametrize("path", [NOBODY, "x", "a%00b", "%3Cb%3E", "a" * 3000])
def test_a_record_that_there_is_not(browser: httpx.Client, path: str):
    page = Page(browser.get(f"/deployments/{path}/record"))

    assert page.status == 404
    assert "No such deployment" in page.words
    assert_nothing_inline(page)


def test_a_record_in_the_middle(servers: Servers, browser: httpx.Client):
    servers.emulator.fault("stuck")
    _, here = deploy(servers, browser, wait=False)
    servers.portal.wait_for(id_of(here), "progressed")

    page = Page(browser.get(f"{here}/record"))

    rows: dict[str, Any] = rows_of(page)
    assert rows["Deploy"][0] == "in progress"
    assert rows["Health check"][2] == "not recorded"
    assert "Left behind" not in page.words
    assert not Page(browser.get(here)).all("a", href=f"{here}/record"), "it is offered when it has ended"
    servers.emulator.release()
    servers.portal.wait(id_of(here))
