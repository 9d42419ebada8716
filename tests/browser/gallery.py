"""Every state a page can be in, made once on real servers and then held, for the camera and for axe.

Two portals, each with an emulated Dokploy: one that gives up soon, where deployments have ended, and a patient one,
where they stand still in the middle.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

from app.sandbox import SandboxSettings, serve_in_thread
from tests.browser.chromium import LANGUAGES
from tests.browser.reading import type_name, wait_for
from tests.servers import Emulator, PortalServer, portal_settings, serve_portal, sqlite_url

SUFFIX: Final = "ai.example.com"
IMAGE: Final = "ghcr.io/example/oh-my-opencode:1.0"
_SANDBOX: Final = SandboxSettings(DEPLOY_SECONDS=0.05, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=1)


def nothing(page: Page) -> None:
    """Leave the page as it is."""


@dataclass(frozen=True)
class View:
    """One state of a page. manager: whether its visitor deployed the stack; act: what he does on it first.

    languages: in which it is looked at.
    """

    portal: PortalServer
    path: str
    manager: bool = True
    act: Callable[[Page], None] = nothing
    languages: Sequence[str] = LANGUAGES

    @property
    def url(self) -> str:
        return self.portal.url + self.path

    @property
    def cookies(self) -> list[Any]:
        """The cookie of the browser that deployed everything here."""
        jar = self.portal.client.cookies.jar if self.manager else ()
        return [{"name": each.name, "value": each.value, "url": self.portal.url} for each in jar]


def deploy_by_form(portal: PortalServer, name: str) -> str:
    """Deploy as a browser without JavaScript does, as the one visitor that `portal.client` is; tell the page's path."""
    answer = portal.client.post("/deploy", data={"name": name})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def remove_by_form(portal: PortalServer, name: str) -> str:
    answer = portal.client.post(f"/stacks/{name}/delete", data={"volume": "erase"})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def id_of(path: str) -> str:
    return path.rpartition("/")[2]


def typed(name: str, state: str) -> Callable[[Page], None]:
    """Type a name and wait for the check's answer."""

    def act(page: Page) -> None:
        type_name(page, name, state)

    return act


def _ask_to_cancel(page: Page) -> None:
    page.locator("#cancel button").click()
    wait_for(page, "#sure")


@contextmanager
def open_gallery(folder: Path) -> Iterator[Mapping[str, View]]:
    """Make every state; they last as long as the block."""
    with ExitStack() as stack:

        def serve(name: str, **values: Any) -> tuple[PortalServer, Emulator]:
            emulator = Emulator(stack.enter_context(serve_in_thread(_SANDBOX)))
            stack.callback(emulator.close)
            (folder / name).mkdir(parents=True)
            common = {"stack_domain_suffix": SUFFIX, "stack_image": IMAGE, "deploy_timeout_seconds": 3600.0}
            settings = portal_settings(emulator.url, sqlite_url(folder / name), **common, **values)
            return stack.enter_context(serve_portal(settings)), emulator

        views = _end(*serve("ended", undo_timeout_seconds=1.0))
        held, emulator = serve("held", undo_timeout_seconds=3600.0, certificate_mode="wildcard")
        views |= _hold(held, emulator)
        views |= {
            "form": View(held, "/"),
            "form-free": View(held, "/", act=typed("hedy", "ready")),
            "form-taken": View(held, "/", act=typed("ada", "off")),
            "form-invalid": View(held, "/", act=typed("Ada Lovelace", "off")),
            "not-found": View(held, "/no/such/page"),
            # Both are long: the one is in English whatever stands around it, the other altogether.
            "docs": View(held, "/docs", languages=["en", "ar"]),
            "styleguide": View(held, "/styleguide", languages=["en"]),
        }
        yield views


@contextmanager
def open_running(folder: Path) -> Iterator[View]:
    """A deployment in the middle, on a Dokploy that is as slow as a real one."""
    with serve_in_thread(SandboxSettings(LATENCY_MS=160)) as url, closing(Emulator(url)) as emulator:
        common: dict[str, Any] = {"stack_domain_suffix": SUFFIX, "stack_image": IMAGE, "certificate_mode": "wildcard"}
        with serve_portal(portal_settings(url, sqlite_url(folder), **common)) as portal:
            emulator.fault("stuck")
            running = deploy_by_form(portal, "ada")
            portal.wait_for(id_of(running), "log_line")
            yield View(portal, running)


def _end(portal: PortalServer, emulator: Emulator) -> dict[str, View]:
    """Bring deployments to every kind of end."""
    ready = deploy_by_form(portal, "ada")
    gone = deploy_by_form(portal, "grace")
    portal.wait(id_of(ready))
    portal.wait(id_of(gone))
    removed = remove_by_form(portal, "grace")
    portal.wait(id_of(removed))

    emulator.fault("fail")
    failed = deploy_by_form(portal, "alan")
    portal.wait(id_of(failed))

    emulator.fault("stuck", seconds=0.5)
    canceled = deploy_by_form(portal, "edsger")
    portal.wait_for(id_of(canceled), "progressed")
    portal.client.post(f"{canceled}/cancel")
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
    return {
        "ready": View(portal, ready),
        "ready-stranger": View(portal, ready, manager=False),
        "ready-gone": View(portal, gone),
        "removed": View(portal, removed),
        "delete": View(portal, "/stacks/ada/delete"),
        "failed": View(portal, failed),
        "canceled": View(portal, canceled),
        "leftovers": View(portal, leftovers),
        "leftovers-stranger": View(portal, leftovers, manager=False),
        "remove-failed": View(portal, half_removed),
        "removing": View(portal, _hold_a_removal(portal, emulator)),
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
        "cancel-dialog": View(portal, running, act=_ask_to_cancel),
        "queued": View(portal, queued),
    }
