"""Remotes as steps of the flow: a second clone pulls what the first pushed, and reproduces nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import running, until
from tests.e2e.project import Project, environment
from tests.e2e.served import free_port
from tests.toy_pipeline import toy_pipeline

pytestmark = pytest.mark.slow
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server (moto's) on this machine, with a bucket."""
    port = free_port()
    command = (sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port))
    address = f"http://127.0.0.1:{port}"

    def bucket() -> bool:
        try:
            return httpx.put(f"{address}/faces").is_success
        except httpx.HTTPError:
            return False

    with running(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        until(bucket)
        yield address


def rebuild(project: Project, api: str) -> str:
    """Run the flow with the remote; what it said."""
    command = [sys.executable, "-m", "pipelines", "rebuild", "--folder", str(project.root), "--remote", "shared"]
    env = {**environment(), **KEYS, "PREFECT_API_URL": api}
    done = subprocess.run(command, env=env, text=True, capture_output=True, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_second_clone_pulls_and_reproduces_nothing(kind: str, s3: str, prefect_api: str, tmp_path: Path) -> None:
    first = toy_pipeline(tmp_path / "first")
    url = str(tmp_path / "remote") if kind == "folder" else "s3://faces/dvc"
    first.dvc("remote", "add", "shared", url)
    if kind == "s3":
        first.dvc("remote", "modify", "shared", "endpointurl", s3)
    first.commit("a remote")
    told = rebuild(first, prefect_api)
    assert "Task run 'pull-" in told and "Task run 'push-" in told
    first.commit("the results")

    second = Project(tmp_path / "second")
    first.run("git", "clone", "-q", str(first.root), str(second.root))
    (second.root / "raw").mkdir()
    (second.root / "raw/rows").write_text((first.root / "raw/rows").read_text())
    told = rebuild(second, prefect_api)
    assert "rebuild: Cached." in told and "Running stage" not in told
    assert (second.root / "data/report/index.html").read_bytes() == (first.root / "data/report/index.html").read_bytes()
