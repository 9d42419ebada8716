"""A SECRET_KEY is rotated as docs/how-to/rotate-secrets.md says, with the commands that it names, on both databases."""

from collections.abc import Callable

from tests.servers import TOKEN, Emulator, PortalServer

StartPortal = Callable[..., PortalServer]

OLD, NEW = "the-old-key-of-this-test", "the-new-key-of-this-test"
BOTH = f"{NEW},{OLD}"


def test_a_key_is_changed_from_end_to_end(
    any_database_url: str, emulator: Emulator, start_portal: StartPortal, portal_command
):
    """As the page says: the new one in front, encrypt anew beside the running portal, leave the old one out."""
    before = start_portal(database_url=any_database_url, secret_key=OLD)
    keys = {}
    for name in ("ada", "bob"):
        accepted = before.deploy(name)
        before.wait(accepted["deploymentId"])
        keys[name] = {"authorization": f"Bearer {accepted['manageKey']}"}
    replayed = before.deploy("replayed", **{"Idempotency-Key": "a-key-of-16-letters"})
    before.wait(replayed["deploymentId"])
    passwords = {name: before.client.get(f"/api/stack/{name}", headers=keys[name]).json()["password"] for name in keys}
    before.stop()
    environment = {
        "SECRET_KEY": BOTH,
        "DATABASE_URL": any_database_url,
        "DOKPLOY_URL": emulator.url,
        "DOKPLOY_API_TOKEN": TOKEN,
        "STACK_DOMAIN_SUFFIX": "ai.example.com",
        "STACK_IMAGE": "image:1",
        "STACK_PROBE_ADDRESS": "traefik:443",
    }

    def run(*command: str) -> tuple[int, str]:
        process = portal_command(*command, **environment)
        status = process.wait()
        assert OLD not in process.output
        assert NEW not in process.output
        return status, process.output

    during = start_portal(database_url=any_database_url, secret_key=BOTH)
    fresh = during.deploy("fresh")
    during.wait(fresh["deploymentId"])
    assert "warn  secrets   4 are under an older key of SECRET_KEY; run `reencrypt`" in run("check")[1]
    assert run("reencrypt", "--dry-run") == (1, "Under the first key of SECRET_KEY: 1; under older ones: 4.\n")
    status, said = run("reencrypt")
    assert (status, said.splitlines()) == (
        0,
        [
            "Encrypted anew: 4.",
            "Under the first key of SECRET_KEY: 5; under older ones: 0.",
            "The older keys can be left out now.",
        ],
    )
    assert run("reencrypt", "--dry-run") == (0, "Under the first key of SECRET_KEY: 5; under older ones: 0.\n")
    assert "ok    secrets   all 5 are under the first key of SECRET_KEY" in run("check")[1]
    assert during.client.get("/api/stack/ada", headers=keys["ada"]).json()["password"] == passwords["ada"]
    during.stop()

    after = start_portal(database_url=any_database_url, secret_key=NEW)
    for name, headers in keys.items():
        assert after.client.get(f"/api/stack/{name}", headers=headers).json()["password"] == passwords[name]
    assert after.deploy("replayed", **{"Idempotency-Key": "a-key-of-16-letters"}) == replayed
    assert after.client.delete("/api/stack/bob", headers=keys["bob"]).json()["removed"]
    environment["SECRET_KEY"] = OLD
    assert run("reencrypt")[0] == 1
    assert "FAIL  secrets   SECRET_KEY lacks the key of" in run("check")[1]
    environment["SECRET_KEY"] = f"{NEW},{OLD}"
    assert run("reencrypt")[0] == 0
