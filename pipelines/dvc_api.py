"""What DVC's command line does not tell, asked of its Python; a program of its own, since DVC keeps state in a process.

    python -m pipelines.dvc_api plan [TARGET...]        the stages as JSON, in order, with what each waits for
    python -m pipelines.dvc_api override KEY=VALUE...   change params.yaml as `dvc exp run --set-param` does

Both work in the DVC repository of the current folder.
"""

import json
from pathlib import Path
from typing import Any

import click


@click.group(help=__doc__)
def main() -> None:
    """The commands are below."""


@main.command()
@click.argument("targets", nargs=-1)
def plan(targets: tuple[str, ...]) -> None:
    """Print the stages that `dvc repro TARGETS` would look at: {name: what `project.Stage` holds}."""
    from dvc.repo import Repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    repo = Repo(_wait_for_lock=True)  # as `dvc --wait-for-lock` does
    with repo.lock:
        graph = get_active_graph(repo.index.graph)
        steps = plan_repro(graph, collect_stages(repo, targets or ["dvc.yaml"]))
        found = {step.addressing: _told(step, graph) for step in steps}
    click.echo(json.dumps(found))


@main.command()
@click.argument("changes", nargs=-1, required=True)
def override(changes: tuple[str, ...]) -> None:
    """Change params.yaml by Hydra overrides; what it already says stays, comments included."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    try:
        apply_overrides("params.yaml", list(changes))
    except DvcException as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise click.ClickException(f"params.yaml cannot be set to {' '.join(changes)}: {reason}") from None


def _told(step: Any, graph: Any) -> dict[str, Any]:
    return {
        "after": sorted(before.addressing for before in graph.successors(step)),
        "changed": bool(step.changed()),
        "about": step.desc or "",
        "deps": [_path(dep) for dep in step.deps if dep.fs.protocol == "local"],
        "outs": [_path(out) for out in step.outs if out.fs.protocol == "local"],
        "metrics": [_path(out) for out in step.outs if out.metric],
    }


def _path(output: Any) -> str:
    return Path(output.fs_path).as_posix()


if __name__ == "__main__":
    main()
