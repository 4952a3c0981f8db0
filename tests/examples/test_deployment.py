"""What deploys the example is well formed, and its parts fit each other. Nothing here reaches a cloud."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

ROOT = Path(__file__).parents[2]
ORDERS = ROOT / "examples" / "orders"
TERRAFORM = sorted((ORDERS / "deploy").glob("*.tf"))


def blocks(kind: str) -> Iterator[tuple[str, Any]]:
    """The blocks of a kind in all files, with the address that others call them by."""
    for path in TERRAFORM:
        with path.open() as file:
            found = hcl2.load(file).get(kind, [])
        for block in found:
            for label, content in block.items():
                label = label.strip('"')
                if kind in ("resource", "data"):
                    for name, body in content.items():
                        yield f"{label}.{name.strip(chr(34))}", body
                else:
                    yield label, content


def resource(address: str) -> Any:
    return dict(blocks("resource"))[address]


def expressions() -> str:
    """All files, without what is a comment."""
    return "\n".join(re.sub(r"(?m)(^|\s)#.*$", "", path.read_text()) for path in TERRAFORM)


@pytest.mark.skipif(shutil.which("terraform") is None, reason="there is no terraform")
def test_the_terraform_is_formatted() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(ORDERS / "deploy")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_that_the_terraform_refers_to_is_declared() -> None:
    text = expressions()
    resources = {address for address, _ in blocks("resource")}
    used = set(re.findall(r"(?<![\w.\"/])(google_\w+\.\w+)", text))
    assert used
    assert used <= resources
    variables = {name for name, _ in blocks("variable")}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == variables
    local = {name for name, _ in blocks("locals")}
    assert set(re.findall(r"\blocal\.(\w+)", text)) <= local
    assert {f"data.{address}" for address, _ in blocks("data")} == set(
        re.findall(r"data\.google_\w+\.\w+", text)
    )


def test_the_worker_is_called_by_one_account_alone() -> None:
    invokers = [
        body["member"]
        for address, body in blocks("resource")
        if address.startswith("google_cloud_run_v2_service_iam_member.") and ".worker." in body["name"]
    ]
    assert invokers == ["${google_service_account.caller.member}"]
    token = resource("google_cloud_scheduler_job.sweep")["http_target"][0]["oidc_token"][0]
    assert token["service_account_email"] == "${google_service_account.caller.email}"


def test_nobody_has_more_than_a_role_for_one_thing() -> None:
    roles = {
        body["role"].strip('"')
        for address, body in blocks("resource")
        if "iam_member" in address.partition(".")[0]
    }
    assert roles == {
        "roles/cloudtasks.enqueuer",
        "roles/datastore.user",
        "roles/iam.serviceAccountUser",
        "roles/run.invoker",
        "roles/secretmanager.secretAccessor",
    }


def test_the_queue_asks_no_more_of_the_worker_than_it_takes() -> None:
    queue = resource("google_cloud_tasks_queue.orders")
    limit = queue["rate_limits"][0]["max_concurrent_dispatches"]
    assert limit == "${var.worker_max_instances * var.worker_concurrency}"
    template = resource("google_cloud_run_v2_service.worker")["template"][0]
    assert template["max_instance_request_concurrency"] == "${var.worker_concurrency}"
    assert template["scaling"][0]["max_instance_count"] == "${var.worker_max_instances}"


def test_each_service_gets_the_settings_that_it_reads() -> None:
    read = set(re.findall(r'environ(?:\.get\()?\[?"(\w+)"', (ORDERS / "orders" / "settings.py").read_text()))
    optional = {"EVENTBOX_AUTH", "EVENTBOX_CERTS_URL", "FIRESTORE_EMULATOR_HOST", "ORDERS_PAYMENT_SECONDS"}
    assert {"EVENTBOX_QUEUE", "EVENTBOX_TARGET", "ORDERS_WEBHOOK_SECRET"} <= read
    given = set(dict(blocks("locals"))["environment"])
    for name in ("api", "worker"):
        container = resource(f"google_cloud_run_v2_service.{name}")["template"][0]["containers"][0]
        assert read - optional <= given | {one["name"].strip('"') for one in container["env"]}


def test_the_fields_come_from_the_repositorys_own_file() -> None:
    path = re.search(r'file\("\$\{path\.module\}/([^"]+)"\)', expressions())
    assert path
    found = (ORDERS / "deploy" / path[1]).resolve()
    assert found == ROOT / "firestore.indexes.json"
    told = json.loads(found.read_text())
    assert told["indexes"] == []  # the Terraform has no composite ones
    for field in told["fieldOverrides"]:
        assert set(field) <= {"collectionGroup", "fieldPath", "indexes", "ttl"}
        assert all(set(index) == {"order", "queryScope"} for index in field["indexes"])


def test_the_dockerfile_has_no_findings() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("there is no hadolint for this machine")
    done = subprocess.run([hadolint, str(ORDERS / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_is_small_and_nobodys() -> None:
    lines = (ORDERS / "Dockerfile").read_text().splitlines()
    assert lines[-1].startswith('CMD ["python", "-m", "orders"')  # exec form: signals arrive
    last_stage = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert any(re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", line) for line in last_stage)
    assert not any("pip install" in line for line in last_stage)


def test_what_the_dockerfile_copies_is_there_and_let_through() -> None:
    copied = [
        source
        for line in (ORDERS / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    let_through = (ORDERS / "Dockerfile.dockerignore").read_text().splitlines()
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in let_through


@pytest.mark.parametrize("page", ["docs/deploy.md"])
def test_the_commands_of_the_page_name_what_the_terraform_makes(page: str) -> None:
    text = (ROOT / page).read_text()
    for address in re.findall(r"-target=(\S+)", text):
        resource(address)
    queue = resource("google_cloud_tasks_queue.orders")["retry_config"][0]
    for option, field in (("min-backoff", "min_backoff"), ("max-backoff", "max_backoff")):
        assert f"--{option}={queue[field].strip(chr(34))}" in text
    assert f"--max-doublings={queue['max_doublings']}" in text
    assert f"--max-attempts={queue['max_attempts']}" in text
