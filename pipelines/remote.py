"""What a run fetches from a DVC remote before its stages, and gives to it afterwards."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from pipelines.project import Project


@task(name="pull", cache_policy=NO_CACHE, persist_result=False, tags=["remote"])
def pull(project: Project, remote: str) -> None:
    """Fetch outputs and the run-cache, so that what is made already is not made again; the remote may lack some."""
    say = get_run_logger().info
    project.dvc("fetch", "--run-cache", "--remote", remote, say=say)
    project.dvc("checkout", "--allow-missing", say=say)


@task(name="push", cache_policy=NO_CACHE, persist_result=False, tags=["remote"])
def push(project: Project, remote: str) -> None:
    """Give outputs and the run-cache to the remote."""
    project.dvc("push", "--run-cache", "--remote", remote, say=get_run_logger().info)
