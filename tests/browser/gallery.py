"""Every state a page can be in, made once on real servers and then held, for the camera and for axe.

Portals with an emulated Dokploy each: one that gives up soon, where deployments have ended, a patient one, where they
stand still in the middle, and some that are in trouble.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from random import getrandbits
from typing import Any, Final

import httpx
from playwright.sync_api import Page

from app.engine.queue import PATIENCE_SECONDS
from app.i18n import LANGUAGES
from app.sandbox import SandboxSettings, serve_in_thread
from tests.browser.reading import type_name, wait_for
from tests.servers import ADMIN_TOKEN, Emulator, PortalServer, portal_settings, serve_portal, sqlite_url
from tests.waiting import WAIT_SECONDS, wait_until

SUFFIX: Final = "ai.example.com"
IMAGE: Final = "ghcr.io/example/oh-my-opencode:1.0"
# No deadline of a portal's is so short that a busy machine misses it.
PATIENT: Final[Mapping[str, float]] = dict.fromkeys(
    (
        "dokploy_timeout_seconds",
        "dokploy_patience_seconds",
        "deploy_timeout_seconds",
        "verify_timeout_seconds",
        "undo_timeout_seconds",
    ),
    2 * WAIT_SECONDS,
)
_SANDBOX: Final = SandboxSettings(DEPLOY_SECONDS=0.05, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=1)


def nothing(page: Page) -> None:
    """Leave the page as it is."""


@dataclass(frozen=True)
class View:
    """One state of a page.

    manager: whether its visitor deployed the stack; act: what he does on it first; status: of the answer that he is left
    with; headers: what his browser sends with each request; languages: in which it is looked at; operator: whether he
    has signed in.
    """

    portal: PortalServer
    path: str
    manager: bool = True
    act: Callable[[Page], None] = nothing
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    languages: Sequence[str] = tuple(LANGUAGES)
    operator: bool = False

    @property
    def url(self) -> str:
        return self.portal.url + self.path

    def in_language(self, code: str) -> str:
        return f"{self.url}{'&' if '?' in self.path else '?'}lang={code}"

    @property
    def cookies(self) -> list[Any]:
        """The cookie of the browser that deployed everything here, or of the operator's."""
        jar = self.portal.client.cookies.jar if self.manager else ()
        if self.operator:
            with httpx.Client(base_url=self.portal.url, trust_env=False) as client:
                client.post("/sign-in", data={"token": ADMIN_TOKEN})
                jar = client.cookies.jar
        return [{"name": each.name, "value": each.value, "url": self.portal.url} for each in jar]


def deploy_by_form(portal: PortalServer, name: str) -> str:
    """Deploy as a browser without JavaScript does, as the one visitor that `portal.client` is; tell the page's path."""
    answer = portal.client.post("/deploy", data={"name": name})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def redeploy_by_form(portal: PortalServer, name: str) -> str:
    answer = portal.client.post(f"/stacks/{name}/redeploy")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def remove_by_form(portal: PortalServer, name: str, volume: str = "erase") -> str:
    answer = portal.client.post(f"/stacks/{name}/delete", data={"volume": volume})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def id_of(path: str) -> str:
    return path.rpartition("/")[2]


def typed(name: str, state: str) -> Callable[[Page], None]:
    """Type a name and wait for the check's answer."""

    def act(page: Page) -> None:
        type_name(page, name, state)

    return act


def asked(button: str, dialog: str) -> Callable[[Page], None]:
    """Press a button and wait for its dialog."""

    def act(page: Page) -> None:
        page.locator(button).click()
        wait_for(page, dialog)

    return act


def _open_menu(page: Page) -> None:
    page.locator(".menu summary").click()
    wait_for(page, ".menu nav")


def _deploy_hedy(page: Page) -> None:
    type_name(page, "hedy")
    page.locator("#deploy").click()
    page.wait_for_url("**/deploy")


def _cancel_by_hand(page: Page) -> None:
    """Send what the page does not offer."""
    page.evaluate(
        """() => {
            const action = `${location.pathname}/cancel`;
            const form = Object.assign(document.createElement("form"), { method: "post", action });
            document.body.append(form);
            form.submit();
        }"""
    )
    wait_for(page, ".closed")


def _open_tables(page: Page) -> None:
    for summary in page.locator(".numbers summary").all():
        summary.click()


def _open_details(page: Page) -> None:
    page.locator("main summary").click()


def guesses(times: int) -> Callable[[Page], None]:
    """Sign in with tokens that are wrong, from an address of its own."""

    def act(page: Page) -> None:
        headers = {"x-forwarded-for": str(ip_address(getrandbits(32)))}
        page.set_extra_http_headers(headers)
        for _ in range(times - 1):
            page.request.post(page.url, form={"token": "wrong"}, headers=headers)
        page.fill("#token", "wrong")
        with page.expect_navigation():
            page.click("main [type=submit]")

    return act


def _make_a_token(page: Page) -> None:
    page.fill("#name", "nightly build")
    page.check("[name='stack:read']")
    page.check("[name='deploy:start']")
    with page.expect_navigation():
        page.click("form[action='/account/tokens'] [type=submit]")


def _make_none(page: Page) -> None:
    page.fill("#name", "nightly build")
    with page.expect_navigation():
        page.click("form[action='/account/tokens'] [type=submit]")


def _take_over(code: str) -> Callable[[Page], None]:
    """Type a code, or a manage key."""

    def act(page: Page) -> None:
        page.fill("#code", code)
        with page.expect_navigation():
            page.click("main [type=submit]")

    return act


def _take_over_another(portal: PortalServer) -> Callable[[Page], None]:
    """Deploy as a program does, and come with the key: of a stack of its own each time, as the key is used up."""

    def act(page: Page) -> None:
        accepted = portal.deploy(f"katherine-{getrandbits(32):x}")
        portal.wait(accepted["deploymentId"])
        _take_over(accepted["manageKey"])(page)

    return act


def _offer(page: Page) -> None:
    with page.expect_navigation():
        page.click("main [type=submit]")


def token_by_form(portal: PortalServer, name: str) -> None:
    fields = {"name": name, "days": "90", "stack:read": "on", "deploy:read": "on"}
    assert portal.client.post("/account/tokens", data=fields).status_code == 200


def revoke_by_form(portal: PortalServer) -> None:
    """Revoke the newest token of all, and be refused something that another site's page asks for."""
    newest = portal.client.get("/api/tokens").json()["items"][0]
    assert portal.client.post(f"/account/tokens/{newest['id']}/revoke").status_code == 303
    portal.client.post("/stacks/ada/delete", headers={"sec-fetch-site": "cross-site"})


@contextmanager
def open_gallery(folder: Path) -> Iterator[Mapping[str, View]]:
    """Make every state; they last as long as the block."""
    with ExitStack() as stack:

        def serve(name: str, **values: Any) -> tuple[PortalServer, Emulator]:
            emulator = Emulator(stack.enter_context(serve_in_thread(_SANDBOX)))
            stack.callback(emulator.close)
            (folder / name).mkdir(parents=True)
            common = {**PATIENT, "stack_domain_suffix": SUFFIX, "stack_image": IMAGE, "deploy_timeout_seconds": 3600.0}
            settings = portal_settings(emulator.url, sqlite_url(folder / name), **{**common, **values})
            return stack.enter_context(serve_portal(settings)), emulator

        # What is left is not tried again while it is looked at.
        views = _end(*serve("ended", undo_timeout_seconds=1.0, leftovers_retry_seconds=3600.0))
        held, emulator = serve("held", undo_timeout_seconds=3600.0, certificate_mode="wildcard")
        views |= _hold(held, emulator)
        new, _ = serve("new")
        views |= {
            "operator-empty": View(new, "/operator", operator=True),
            "audit-empty": View(new, "/operator/audit?stack=ada", operator=True),
            "account-new": View(new, "/account", manager=False),
            "sign-in": View(new, "/sign-in"),
            "sign-in-wrong": View(new, "/sign-in", act=guesses(1), status=403),
            "too-many": View(
                serve("guarded", wrong_credential_rate="10/minute")[0], "/sign-in", act=guesses(11), status=429
            ),
            "form": View(held, "/"),
            "form-free": View(held, "/", act=typed("hedy", "ready")),
            "form-taken": View(held, "/", act=typed("ada", "off")),
            "form-invalid": View(held, "/", act=typed("Ada Lovelace", "off")),
            "stacks-empty": View(held, "/stacks", manager=False),
            "form-plan": View(held, "/?name=grace-hopper&plan=1"),
            "languages": View(held, "/", act=_open_menu),
            "not-found": View(held, "/no/such/page", status=404),
            # Long, and in English whatever stands around it.
            "docs": View(held, "/docs", languages=["en", "ar"]),
        }
        provider = {"oidc_issuer": "https://id.example", "oidc_client_id": "portal", "oidc_client_secret": "x" * 16}
        accounts, _ = serve(
            "accounts", auth_mode="oidc", portal_url="https://portal.example", allowed_domains=("*",), **provider
        )
        giving, _ = serve("giving")
        behind, _ = serve("behind", auth_mode="proxy", proxy_auth_addresses="192.0.2.0/24")
        views |= {
            "sign-in-provider": View(accounts, "/sign-in", act=_open_details),
            "sign-in-proxy": View(behind, "/sign-in"),
            "taken-over": View(giving, "/take-over", manager=False, act=_take_over_another(giving)),
        }
        stranger = {"authorization": "Bearer not-the-key-of-this-stack"}
        views |= {
            "forbidden": View(held, views["running"].path, False, _cancel_by_hand, status=403, headers=stranger),
            "waiting": _wait_for_a_place(*serve("busy", runner_concurrency=1)),
            "dokploy-away": _lose_dokploy(*serve("away", dokploy_circuit_seconds=300)),
            "broken": _break(serve("locked")[0]),
        }
        yield views


@contextmanager
def open_for_readme(folder: Path) -> Iterator[Mapping[str, View]]:
    """A deployment in the middle, and one that waits for it, on a Dokploy that is as slow as a real one."""
    with serve_in_thread(SandboxSettings(LATENCY_MS=160)) as url, closing(Emulator(url)) as emulator:
        common: dict[str, Any] = {"stack_domain_suffix": SUFFIX, "stack_image": IMAGE, "certificate_mode": "wildcard"}
        with serve_portal(portal_settings(url, sqlite_url(folder), **common)) as portal:
            emulator.fault("stuck")
            running = deploy_by_form(portal, "ada")
            portal.wait_for(id_of(running), "progressed")
            for name in ("alonzo", "grace"):
                waiting = deploy_by_form(portal, name)
                portal.wait_for(id_of(waiting), "queue_position")
            portal.wait_for(id_of(running), "log_line")
            yield {"running": View(portal, running), "queued": View(portal, waiting)}


def _end(portal: PortalServer, emulator: Emulator) -> dict[str, View]:
    """Bring deployments to every kind of end."""
    ready = deploy_by_form(portal, "ada")
    gone = deploy_by_form(portal, "grace")
    other = deploy_by_form(portal, "dorothy")
    for each in (ready, gone, other):
        portal.wait(id_of(each))
    removed = remove_by_form(portal, "grace")
    portal.wait(id_of(removed))
    portal.wait(id_of(deploy_by_form(portal, "katherine")))
    kept = remove_by_form(portal, "katherine", volume="keep")
    portal.wait(id_of(kept))

    emulator.fault("fail")
    again = redeploy_by_form(portal, "ada")
    portal.wait(id_of(again))
    portal.wait(id_of(redeploy_by_form(portal, "ada")))

    portal.wait(id_of(deploy_by_form(portal, "frances")))
    emulator.fault("fail")
    portal.wait(id_of(portal.client.post("/stacks/frances/password").headers["location"]))

    emulator.fault("fail")
    failed = deploy_by_form(portal, "alan")
    portal.wait(id_of(failed))

    emulator.fault("stuck")
    canceled = deploy_by_form(portal, "edsger")
    portal.wait_for(id_of(canceled), "progressed")
    portal.client.post(f"{canceled}/cancel")
    portal.wait_for(id_of(canceled), "cancel_requested")
    emulator.release()
    portal.wait(id_of(canceled))

    half_removed = deploy_by_form(portal, "barbara")
    portal.wait(id_of(half_removed))
    emulator.fault("volume_in_use", times=-1)
    half_removed = remove_by_form(portal, "barbara")
    emulator.fault("open")
    leftovers = deploy_by_form(portal, "linus")
    portal.wait(id_of(half_removed))
    portal.wait(id_of(leftovers))
    emulator.clear_faults()

    token_by_form(portal, "a dashboard in the hall")
    token_by_form(portal, "ci")
    revoke_by_form(portal)
    return {
        "ready": View(portal, ready),
        "ready-stranger": View(portal, ready, manager=False),
        "ready-gone": View(portal, gone),
        "removed": View(portal, removed),
        "removed-kept": View(portal, kept),
        "erase": View(portal, "/stacks/katherine/erase"),
        "form-kept": View(portal, "/", act=typed("katherine", "ready")),
        "delete": View(portal, "/stacks/ada/delete"),
        "failed": View(portal, failed),
        "canceled": View(portal, canceled),
        "leftovers": View(portal, leftovers),
        "leftovers-stranger": View(portal, leftovers, manager=False),
        "remove-failed": View(portal, half_removed),
        "removing": View(portal, _hold_a_removal(portal, emulator)),
        "stacks": View(portal, "/stacks"),
        "stack": View(portal, "/stacks/ada"),
        "stack-delete-dialog": View(portal, "/stacks/ada", act=asked("#delete-button", "#delete-dialog")),
        "stack-redeploy-dialog": View(portal, "/stacks/ada", act=asked("#redeploy-button", "#redeploy-dialog")),
        "stack-password-dialog": View(portal, "/stacks/ada", act=asked("#password-button", "#password-dialog")),
        "stack-password-pending": View(portal, "/stacks/frances"),
        "stack-left": View(portal, "/stacks/linus"),
        "password": View(portal, "/stacks/ada/password"),
        "redeploy": View(portal, "/stacks/ada/redeploy"),
        "redeploying": View(portal, _hold_a_redeployment(portal), act=asked("#cancel button", "#sure")),
        "redeploy-failed": View(portal, again),
        "account": View(portal, "/account"),
        "account-wrong": View(portal, "/account", act=_make_none, status=422),
        "account-everybody": View(portal, "/account?everybody=1", operator=True),
        "token": View(portal, "/account", act=_make_a_token),
        "offer": View(portal, "/stacks/ada/offer"),
        "offered": View(portal, "/stacks/ada/offer", act=_offer),
        "take-over": View(portal, "/take-over"),
        "take-over-wrong": View(portal, "/take-over", act=_take_over("asdo_nothing"), status=422),
        "audit": View(portal, "/operator/audit", operator=True),
        "record": View(portal, f"{ready}/record"),
        "record-failed": View(portal, f"{failed}/record"),
        "record-redeploy": View(portal, f"{again}/record", manager=False),
        "operator": View(portal, "/operator", act=_open_tables, operator=True),
    }


def _hold_a_removal(portal: PortalServer, emulator: Emulator) -> str:
    """Begin to remove a stack that Dokploy is busy with, at somebody else's request, for ever."""
    name = "margaret"
    portal.wait(id_of(deploy_by_form(portal, name)))
    application = next(each for each in emulator.state()["applications"] if each["name"] == name)
    emulator.fault("stuck")
    emulator.call("application.deploy", applicationId=application["applicationId"])
    removing = remove_by_form(portal, name)
    portal.wait_for(id_of(removing), "progressed")
    return removing


def _hold_a_redeployment(portal: PortalServer) -> str:
    """Begin to deploy a stack again, behind whatever Dokploy is busy with."""
    again = redeploy_by_form(portal, "dorothy")
    portal.wait_for(id_of(again), "queue_position")
    return again


def _hold(portal: PortalServer, emulator: Emulator) -> dict[str, View]:
    """Bring deployments to the middle of something, where they stay."""
    emulator.fault("status", "application.delete", status=500, times=-1)
    emulator.fault("fail")
    undoing = deploy_by_form(portal, "edith")
    portal.wait_for(id_of(undoing), "step_compensated")
    # From here on a deployment takes Dokploy's only place and keeps it, so that all others wait behind it.
    emulator.fault("stuck")
    running = deploy_by_form(portal, "ada")
    portal.wait_for(id_of(running), "progressed")
    for name in ("alonzo", "haskell", "dennis", "brian"):
        waiting = deploy_by_form(portal, name)
        portal.wait_for(id_of(waiting), "queue_position")
    queued = deploy_by_form(portal, "grace")
    portal.wait_for(id_of(queued), "queue_position")
    # Its log is read some seconds after it runs.
    portal.wait_for(id_of(running), "log_line")
    return {
        "undoing": View(portal, undoing),
        "running": View(portal, running),
        "running-stranger": View(portal, running, manager=False),
        "cancel-dialog": View(portal, running, act=asked("#cancel button", "#sure")),
        "queued": View(portal, queued),
        "stack-busy": View(portal, "/stacks/edith"),
    }


def _wait_for_a_place(portal: PortalServer, emulator: Emulator) -> View:
    """Ask for more than the portal does at once."""
    emulator.fault("stuck")
    portal.wait_for(id_of(deploy_by_form(portal, "ada")), "progressed")
    waiting = [deploy_by_form(portal, name) for name in ("alonzo", "haskell", "dennis", "grace")]
    time.sleep(PATIENCE_SECONDS)  # who waits no longer than this is not said to wait
    return View(portal, waiting[-1])


def _lose_dokploy(portal: PortalServer, emulator: Emulator) -> View:
    """Let Dokploy be away until the portal leaves it alone."""
    emulator.fault("database_down")
    numbers = count()

    def is_open() -> bool:
        portal.client.post("/deploy", data={"name": f"ada-{next(numbers)}"})
        return bool(portal.client.get("/health").json()["dokploy"]["circuit"] == "open")

    wait_until(is_open, pause=0.1)
    return View(portal, "/", act=_deploy_hedy, status=503)


def _break(portal: PortalServer) -> View:
    """Deploy, and write over the password, so that it can no longer be read."""
    ready = deploy_by_form(portal, "ada")
    portal.wait(id_of(ready))
    portal.spoil_passwords()
    return View(portal, ready, status=500, headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
