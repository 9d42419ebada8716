"""Whatever two owners and the operator do to one name, in any order: nobody ever gets a volume with another's files."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.integration.conftest import FAST, Servers, serve_both
from tests.integration.holding import UNHURRIED
from tests.integration.test_http import OPERATOR
from tests.servers import Emulator, http_client

PEOPLE = ("ada", "bob")
NAMES = (f"name-{number}" for number in count())
# Who, what, and what goes wrong on the way: nothing, or Dokploy.
WHAT = ("deploy", "keep", "erase", "erase kept")
TROUBLES = (None, "volume_in_use", "keep_volume", "open", "fail")
Act = tuple[str, str, str | None]
ACTS = st.lists(
    st.tuples(st.sampled_from([*PEOPLE, "operator"]), st.sampled_from(WHAT), st.sampled_from(TROUBLES)),
    min_size=3,
    max_size=8,
)


class World:
    """One name, those who want it, and which volume was whose first."""

    def __init__(self, servers: Servers, clients: dict[str, httpx.Client]) -> None:
        self.name = next(NAMES)
        self._servers = servers
        self._clients = clients
        self._first: dict[str, str] = {}
        self._last = ""

    def act(self, who: str, what: str, trouble: str | None) -> None:
        """Do something, wait until it is over, and look."""
        emulator, client = self._servers.emulator, self._clients[who]
        if trouble:
            emulator.fault(trouble, times=-1)
        headers = OPERATOR if who == "operator" else {}
        if what == "deploy":
            answer = client.post("/api/deploy", json={"name": self.name}, headers=headers)
        else:
            volume = "keep" if what == "keep" else "erase"
            answer = client.delete(f"/api/stack/{self.name}", params={"volume": volume}, headers=headers)
        assert answer.status_code < 500 or answer.json()["code"] == "removal_incomplete", answer.text
        if url := answer.json().get("statusUrl"):
            self._servers.portal.wait(url.rpartition("/")[2])
        emulator.clear_faults()
        self._look()

    def _look(self) -> None:
        """Whose the volume is on record: of the stack that has it, or of whoever may have it back."""
        (mine,) = [each["id"] for each in self._volumes(self._servers.emulator)] or [None]
        owners = [who for who in PEOPLE if self._has(who)]
        assert len(owners) <= 1
        if mine is None:
            return
        if mine not in self._first:
            # It has just come into being, so whoever deploys now, or has left it behind, was the first.
            (self._first[mine],) = owners or [self._last]
        assert owners in ([], [self._first[mine]]), "with another's files"
        if owners:
            self._last = owners[0]
        for who in PEOPLE:
            if who != self._first[mine]:
                assert not self._clients[who].get(f"/api/check/{self.name}").json()["available"], "before it is erased"

    def _volumes(self, emulator: Emulator) -> list[dict[str, Any]]:
        return [each for each in emulator.state()["volumes"] if each["name"] == f"portal-ai-workspace-{self.name}"]

    def _has(self, who: str) -> bool:
        """Whether the stack of this name, or what is kept of it, is somebody's."""
        lists = [self._clients[who].get(f"/api/{what}").json()["items"] for what in ("stacks", "kept-files")]
        return self.name in [each["name"] for items in lists for each in items]


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A portal that gives up soon, and leaves it to whoever asks to try again."""
    folder = tmp_path_factory.mktemp("impatient")
    # A volume that no fault holds is free at once, so that only a fault lets the time run out.
    sandbox = FAST.model_copy(update={"VOLUME_RELEASE_SECONDS": 0.0})
    values = {**UNHURRIED, "undo_timeout_seconds": 0.4, "leftovers_retry_seconds": 3600}
    with serve_both(folder, sandbox, **values) as servers:
        yield servers


@pytest.fixture(scope="module")
def clients(impatient: Servers) -> Iterator[dict[str, httpx.Client]]:
    """A browser each, which the form has given its cookie."""
    made = {who: http_client(base_url=impatient.portal.url) for who in (*PEOPLE, "operator")}
    for who in PEOPLE:
        here = made[who].post("/deploy", data={"name": f"of-{who}"}).headers["location"]
        impatient.portal.wait(here.rpartition("/")[2])
    yield made
    for client in made.values():
        client.close()


@given(acts=ACTS)
@example(acts=[("ada", "deploy", None), ("ada", "keep", None), ("bob", "deploy", None), ("ada", "deploy", None)])
@example(
    acts=[
        ("ada", "deploy", None),
        ("ada", "keep", None),
        ("ada", "erase kept", "keep_volume"),
        ("bob", "deploy", None),
        ("operator", "erase kept", None),
        ("bob", "deploy", None),
    ]
)
@example(
    acts=[
        ("ada", "deploy", None),
        ("ada", "keep", None),
        ("ada", "deploy", "open"),
        ("bob", "deploy", None),
        ("ada", "deploy", None),
        ("ada", "erase", "volume_in_use"),
        ("bob", "deploy", None),
        ("ada", "keep", None),
        ("bob", "deploy", None),
    ]
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
def test_nobody_gets_another_s_files(impatient: Servers, clients: dict[str, httpx.Client], acts: list[Act]) -> None:
    world = World(impatient, clients)
    for act in acts:
        world.act(*act)
    # And it can always be put right: then anybody has the name, and files of his own.
    for _ in range(2):
        world.act("operator", "erase kept", None)
    world.act("bob", "deploy", None)
