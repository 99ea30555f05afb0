"""The command line of the flows.

    python -m pipelines ui                     the Prefect server, its UI, and the deployments
    python -m pipelines rebuild [--help]       a flow once, here and now; likewise check, compare, tune, …

A flow run this way appears on the server that PREFECT_API_URL names, else on the one on this machine; without either
Prefect starts one for the time of the run.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines import server

if TYPE_CHECKING:
    from prefect import Flow

FLOWS = ("rebuild", "check", "compare", "tune", "crossvalidate", "promote")
STATUS = {"Refused": 3}  # exit statuses by the name of a flow's state, where 0 and 1 do not tell it
REPORTS_PORT = 4201


class Flows(click.Group):
    """The commands below, and one a flow whose options are its parameters."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return [*super().list_commands(ctx), *FLOWS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name; a flow's module is imported only now, since Prefect reads its settings then."""
        if name not in FLOWS:
            return super().get_command(ctx, name)
        connect()
        flow: Flow[..., Any] = getattr(import_module(f"pipelines.{name}"), name)
        return as_command(flow)


def connect() -> None:
    """Let Prefect use the server on this machine, unless it is told of another or there is none."""
    if "PREFECT_API_URL" not in os.environ and server.answers(server.url()):
        os.environ["PREFECT_API_URL"] = server.url()


def require_server() -> str:
    """The API of the server that Prefect is told of, by its environment, a profile or `connect`; it has to answer."""
    from prefect.settings import get_current_settings

    api = get_current_settings().api.url
    if not api or not server.answers(api):
        where = f"at {api}" if api else "on this machine; start one (`make ui`) or name it in PREFECT_API_URL"
        raise server.ServerError(f"no Prefect server answers {where}")
    return str(api)


def as_command(flow: "Flow[..., Any]") -> click.Command:
    """A flow as a command: an option a parameter, with the same names, defaults and descriptions as in the UI."""

    def run(**given: Any) -> None:
        state = flow(**given, return_state=True)
        click.echo(f"{flow.name}: {state.name}. {state.message or ''}")
        sys.exit(STATUS.get(str(state.name), not state.is_completed()))

    properties = flow.parameters.properties
    about = (flow.description or "").partition("\nArgs:")[0]  # the options tell the rest
    options = [option(name, schema) for name, schema in properties.items() if simple(schema)]
    return click.Command(flow.name, params=list(options), callback=run, help=about)


def simple(schema: dict[str, Any]) -> bool:
    """Whether a parameter can be given on a command line: no list of objects."""
    return "$ref" not in str(schema.get("items", ""))


def option(name: str, schema: dict[str, Any]) -> click.Option:
    """The option of a parameter, from its JSON schema."""
    typed = next(entry for entry in (schema, *schema.get("anyOf", [])) if entry.get("type", "null") != "null")
    kind, least = typed["type"], typed.get("minimum")
    many, default = kind == "array", schema.get("default")
    types: dict[str, Any] = {
        "integer": int if least is None else click.IntRange(least),
        "number": float if least is None else click.FloatRange(least),
        "boolean": bool,
    }
    chosen = click.Choice(schema["enum"]) if "enum" in schema else types.get(kind, str)
    words = " ".join(schema.get("description", "").split())
    return click.Option(
        [f"--{name.replace('_', '-')}", *(["-S"] if name == "set" else []), name],
        type=chosen, is_flag=kind == "boolean", multiple=many, default=() if many else default,
        help=words, show_default=default not in (None, False, [], ()),
    )  # fmt: skip


@click.command(cls=Flows, help=__doc__)
def main() -> None:
    """The commands are above."""


@main.command()
@click.option("--port", default=server.PORT, show_default=True, help="Of the server; it listens on localhost only.")
@click.option("--reports-port", default=REPORTS_PORT, show_default=True, help="Of the reports that runs link to.")
def ui(port: int, reports_port: int) -> None:
    """Start the Prefect server, unless it runs, and serve the deployments until interrupted."""
    with server.running(port) as api:
        os.environ["PREFECT_API_URL"] = api
        serve_here(reports_port, api)


@main.command()
@click.option("--reports-port", default=REPORTS_PORT, show_default=True, help="Of the reports that runs link to.")
def serve(reports_port: int) -> None:
    """Serve the deployments to the server that PREFECT_API_URL names, or the one on this machine."""
    connect()
    serve_here(reports_port, require_server())


@main.command()
@click.argument("url")
def notify(url: str) -> None:
    """Have the webhook URL called whenever a run ends Failed or Crashed."""
    connect()
    require_server()
    from pipelines import automations

    automations.tell_failures(url)
    click.echo(f"runs that fail are told to {url}")


def serve_here(reports_port: int, api: str) -> None:
    """Serve the deployments, and the reports that their runs link to."""
    from pipelines import automations, deployments, reports

    reports.serve(Path.cwd(), reports_port)
    automations.mark_zombies()
    click.echo(f"UI: {api.removesuffix('/api')}   reports: {os.environ[reports.ADDRESS]}")
    deployments.serve_all(Path.cwd())


if __name__ == "__main__":
    main()
