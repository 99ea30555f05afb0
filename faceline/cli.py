"""The command `faceline`.

    faceline predict PICTURE… [--bundle BUNDLE] [--json]

finds the faces in pictures and says how old they look, of which gender and race, as a table or as JSON;

    faceline evaluate [BUNDLE] ARCHIVE [--no-detect] [--limit N] [--predictions OUT.parquet] [--json]

judges a bundle on a dataset: an archive or folder of UTKFace names, an IMDB-WIKI archive, a CSV of pixels, a manifest;

    faceline compare A B [--json]

says whether one bundle's predictions are better than another's on the same pictures, or may differ by chance;

    faceline teach BUNDLE... OUTPUT [--shards data/shards]

writes what bundles answer to the training pictures, on average, for another network to learn from;

    faceline export [BUNDLE] OUTPUT [--format onnx|tflite|all] [--no-detector] [--check N]

writes a bundle as ONNX and TFLite, for browsers, phones and programs without TensorFlow;

    faceline audit PROFILES.csv [--pictures FOLDER] [--output audit] [--false-flags 0.01] [--json]

flags profiles whose stated age or gender their picture contradicts, as a table and as a gallery;

    faceline serve [--bundle BUNDLE] [--host 127.0.0.1] [--port 5000]

answers over HTTP what `predict` does.
"""

import json
import os
import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from PIL import Image
from rich.console import Console
from rich.table import Table

from faceline.console import counting, load_tensorflow
from faceline.datasets.ingestion import READERS
from faceline.datasets.sources.guessing import KINDS, source_of
from faceline.datasets.tables import PREDICTIONS
from faceline.errors import PictureError
from faceline.evaluation.metrics_table import coverage_sentence, groups_table, metrics_table
from faceline.evaluation.telling import comparison_record, comparison_sentence, comparison_table
from faceline.evaluation.wording import gaps
from faceline.files import write_table
from faceline.learning.telling import Judged, picture_record, pictures_table
from faceline.params import parse_settings

if TYPE_CHECKING:
    from faceline.audit.auditing import AuditSettings
    from faceline.audit.judging import Judge
    from faceline.evaluation.anywhere import Bundle
    from faceline.learning.answering import CropPredictor
    from faceline.learning.bundle import Predictor

KEY_VARIABLE = "FACELINE_API_KEY"
NARROWEST = 120  # characters; a narrower terminal or a pipe would cut the table's names
BUNDLES = (Path("models/pretrained/utkface"), Path("models/bundle"))  # the first that is there is the default
DEFAULT = "models/pretrained/utkface where that folder is, else models/bundle; here, or else beside the package"

Command = TypeVar("Command", bound=Callable[..., Any])


def default_bundle() -> Path:
    """The bundle that is taken where none is named: DEFAULT."""
    beside = Path(__file__).parent.parent
    found = (folder / bundle for folder in (Path(), beside) for bundle in BUNDLES)
    return next((path for path in found if path.is_dir()), BUNDLES[-1])


def bundle_option(told: str) -> Callable[[Command], Command]:
    """The option --bundle, with its help."""
    given = click.Path(path_type=Path)
    return click.option("--bundle", type=given, default=default_bundle, show_default=DEFAULT, help=told)


def bundle_first(context: click.Context, parameter: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path, Path]:
    """Bundle and what follows it, of one or two arguments."""
    if len(paths) > 2:
        raise click.UsageError(f"give {parameter.make_metavar(context)}, not {len(paths)} arguments", context)
    return (default_bundle(), paths[0]) if len(paths) == 1 else (paths[0], paths[1])


@click.group()
@click.version_option(package_name="faceline")
def main() -> None:
    """Face age, gender and race: predictions from a trained bundle, how good it is, and which of two is better."""


@main.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@bundle_option("A trained bundle.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def predict(pictures: Sequence[Path], bundle: Path, as_json: bool) -> None:
    """Find the faces in PICTURES; age with its interval, gender and race of each.

    Exits with 1 if a picture could not be read; the others are judged all the same.
    """
    load_tensorflow()
    from faceline.learning.bundle import Predictor

    predictor = Predictor(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bundle has a limit of its own
        judged = [judge(predictor, picture) for picture in pictures]
    if as_json:
        _print_json([picture_record(item, predictor.card) for item in judged])
    else:
        _print_table(pictures_table(judged, predictor.card))
    for item in judged:
        if item.error:
            click.echo(f"{item.picture}: {item.error}", err=True)
    if any(item.error for item in judged):
        raise SystemExit(1)


@main.command()
@click.argument(
    "paths",
    metavar="[BUNDLE] ARCHIVE",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    callback=bundle_first,
)
@click.option("--reader", type=click.Choice(list(KINDS)), show_default="told from it", help="What reads ARCHIVE.")
@click.option("--pictures", type=click.Path(path_type=Path), help="A manifest's pictures: an archive or a folder.")
@click.option("--metadata", type=click.Path(path_type=Path), help="The .mat of an IMDB-WIKI archive without.")
@click.option("--no-detect", is_flag=True, help="The pictures are cropped faces already: take them as they are.")
@click.option("--limit", type=click.IntRange(min=1), help="Take the first so many rows only.")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the answers here, for `faceline compare`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the keys of models/metrics.json.")
def evaluate(
    *,
    paths: tuple[Path, Path],
    reader: str | None,
    pictures: Path | None,
    metadata: Path | None,
    no_detect: bool,
    limit: int | None,
    predictions: Path | None,
    as_json: bool,
) -> None:
    """Judge BUNDLE on the labelled pictures of ARCHIVE: an archive, a folder, or a table.

    Once on the pictures with one good face, and once on every readable one: the whole picture where no single face was
    found. Without BUNDLE it is models/pretrained/utkface where that folder is, else models/bundle; here, or else beside
    the package.
    """
    bundle, archive = paths
    folder, source = source_of(archive, reader, pictures, metadata)
    reading = READERS[source.reader].read(source, folder, salt="")  # no code of a subject leaves this process
    load_tensorflow()
    from faceline.evaluation.anywhere import evaluate_items
    from faceline.learning.answering import CropPredictor

    judged = bundle_of(CropPredictor(bundle), search=not no_detect)
    with counting("evaluate") as tick:
        found = evaluate_items(islice(reading.items, limit), judged, str(archive), tick)
    if predictions:
        write_table(predictions, found.predictions, PREDICTIONS)
    if as_json:
        _print_json({"bundle": str(bundle), "archive": str(archive), "reader": source.reader, **found.metrics})
        return
    for table in (metrics_table(found.metrics), groups_table(found.metrics)):
        _print_table(table)
    for gap in gaps(found.metrics):
        click.echo(gap)
    click.echo(f"{bundle} on {archive} ({source.reader}): {coverage_sentence(found.metrics)}")


@main.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--samples", default=2000, show_default=True, help="How often groups are drawn anew for an interval.")
@click.option("--seed", default=1, show_default=True, help="Of these draws.")
@click.option("--level", default=0.95, show_default=True, help="Of the intervals, between 0 and 1.")
def compare(a: Path, b: Path, *, as_json: bool, samples: int, seed: int, level: float) -> None:
    """Is B better than A? Each is a predictions.parquet or a folder that has one.

    Rows are compared in pairs, by image_id; for intervals those of one group are drawn together. An accuracy is better
    or worse only if the exact sign test says so, too. Exits with 0 whatever the answer.
    """
    from faceline.evaluation import comparing

    first, second = comparing.predictions_file(a), comparing.predictions_file(b)
    comparison = comparing.compare(
        comparing.read_predictions(first),
        comparing.read_predictions(second),
        samples=samples,
        seed=seed,
        level=level,
        names=(str(first), str(second)),
    )
    if as_json:
        _print_json({"a": str(first), "b": str(second), **comparison_record(comparison)})
    else:
        _print_table(comparison_table(comparison))
        click.echo(comparison_sentence(comparison))


@main.command()
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--shards",
    type=click.Path(path_type=Path),
    default=Path("data/shards"),
    show_default=True,
    help="The folder of the shards.",
)
def teach(bundles: tuple[Path, ...], output: Path, shards: Path) -> None:
    """Write what BUNDLE answers to the training pictures to OUTPUT, a table for `distill` of a recipe.

    Of several bundles it is the mean of their answers.
    """
    load_tensorflow()
    from faceline.learning import teaching
    from faceline.learning.teacher import write_answers

    with counting("teach") as tick:
        answers = teaching.teach(bundles, shards, tick)
    write_answers(output, answers)
    click.echo(f"{output}: {', '.join(answers.answers)} of {len(answers.image_ids)} pictures")


@main.command()
@click.argument(
    "paths",
    metavar="[BUNDLE] OUTPUT",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    callback=bundle_first,
)
@click.option(
    "--format",
    "wanted",
    type=click.Choice(["onnx", "tflite", "all"]),
    default="all",
    show_default=True,
    help="Which files.",
)
@click.option("--detector/--no-detector", default=True, help="MTCNN's three networks too, or not.", show_default=True)
@click.option(
    "--check",
    metavar="N",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    help="Compare each file with the bundle on so many rendered faces; 0: do not.",
)
@click.option("--replace", is_flag=True, help="Take the place of an older export.")
def export(*, paths: tuple[Path, Path], wanted: str, detector: bool, check: int, replace: bool) -> None:
    """Write BUNDLE to the folder OUTPUT as ONNX and TFLite, for use without TensorFlow.

    `predictor` takes crops of faces and gives what `faceline predict` prints of them, intervals and temperatures
    included; `pnet`, `rnet` and `onet` find the faces. Each file is asked about rendered faces before it counts as
    written: an answer that is off by more than 0.05 years or 0.002 is an error. docs/device.md tells the rest. Without
    BUNDLE it is models/pretrained/utkface where that folder is, else models/bundle; here, or else beside the package.
    """
    load_tensorflow()
    from faceline.export import folder

    bundle, output = paths
    formats = [name for name in folder.FORMATS if wanted in (name, "all")]
    folder.export(bundle, output, formats=formats, detector=detector, check=check, replace=replace, say=click.echo)


@main.command()
@click.argument("profiles", metavar="PROFILES.csv", type=click.Path(path_type=Path))
@bundle_option("A trained bundle whose card has a calibration (`nonconformity`).")
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    show_default="the CSV's",
    help="The folder where the paths in the CSV begin.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("audit"),
    show_default=True,
    help="The folder to write: audit.csv, index.html, summary.json.",
)
@click.option(
    "--false-flags",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.01,
    show_default=True,
    help="Of profiles that state the truth, the share that may be flagged.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Audit the first so many rows only.")
@click.option("--shown", type=click.IntRange(min=0), default=200, show_default=True, help="Flags in the gallery.")
@click.option("--follow-links", is_flag=True, help="Symbolic links may lead out of the folder of pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def audit(*, as_json: bool, **settings: Any) -> None:
    """Flag profiles whose stated age or gender their picture contradicts.

    PROFILES.csv has a header and the columns picture (a path) and age or gender or both: years, and male, female, m or
    f. Further columns are carried through. A picture with no face, or with several, is a category of its own.

    A flag is a reason to look, never a decision: age and gender are predicted by appearance, and errors differ by
    group. A killed audit goes on where it was when the same command is given again.
    """
    from faceline.audit import auditing
    from faceline.audit.telling import summary_lines

    with counting("audit") as tick:
        asked = auditing.AuditSettings(**settings)
        summary = auditing.audit(asked, judge_of, tick, partial(click.echo, err=True))
    if as_json:
        return _print_json(summary)
    for line in summary_lines(summary, settings["output"]):
        click.echo(line)
    return None


def judge_of(settings: "AuditSettings") -> "Judge":
    """What judges the pictures of an audit: the networks of its bundle, and what finds faces."""
    load_tensorflow()
    from faceline.audit.judging import Judge
    from faceline.faces.detector import Detector
    from faceline.learning.answering import CropPredictor

    predictor = CropPredictor(settings.bundle)
    return Judge(predictor.card, predictor.predict_crops, Detector(predictor.card.detect), settings.false_flags)


def _fits_a_header(context: click.Context, parameter: click.Parameter, key: str | None) -> str | None:
    """Refuse a key that no header carries as it is, without saying which, and an empty variable, which asks nobody."""
    if key is None and os.environ.get(KEY_VARIABLE) == "":  # which click takes for none
        raise click.BadParameter(f"{KEY_VARIABLE} is set, but empty", context, parameter)
    if key and not re.fullmatch(r"[!-~]+", key):
        raise click.BadParameter("a header carries it: printable ASCII without spaces is allowed", context, parameter)
    return key


@main.command(context_settings={"auto_envvar_prefix": "FACELINE"})
@bundle_option("A trained bundle; SIGHUP opens it anew.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address; 0.0.0.0: reachable by everybody.")
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="The port.")
@click.option(
    "--api-key",
    callback=_fits_a_header,
    help=f"Ask this of everybody, as the header X-API-Key; better set as {KEY_VARIABLE}.",
)
@click.option("--cors-origin", "cors_origins", multiple=True, help="Let pages of this origin ask; may be repeated.")
@click.option("--max-bytes", type=click.IntRange(min=1), help="Of an encoded picture.  [default: 10 MiB]")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Of a picture.  [default: as the bundle's card]")
@click.option("--max-waiting", type=click.IntRange(min=1), help="Requests answered at a time.  [default: 64]")
@click.option(
    "--upload-timeout",
    type=click.FloatRange(0, min_open=True),
    help="Seconds that a request may take to arrive.  [default: 30]",
)
@click.option("--bytes-in-memory", type=click.IntRange(min=1), help="Of all uploads at a time.  [default: 256 MiB]")
@click.option("--page/--no-page", default=True, show_default=True, help="The web page, at /page/.")
@click.option("--access-log/--no-access-log", default=True, show_default=True, help="A line for each request.")
def serve(*, host: str, port: int, access_log: bool, **settings: Any) -> None:
    """Answer over HTTP what `predict` does: http://127.0.0.1:5000 is a page, http://127.0.0.1:5000/docs describes it.

    Each option can be given in the environment too, as FACELINE_PORT. SIGTERM answers what is under way, then ends.
    """
    from serving.server import run
    from serving.settings import ServeSettings

    given = {name: value for name, value in settings.items() if value is not None}
    run(parse_settings(ServeSettings, given, "serve", Path("options")), host, port, access_log=access_log)


def bundle_of(predictor: "CropPredictor", search: bool) -> "Bundle":
    """What is judged of a bundle; with `search` it finds the faces itself."""
    from faceline.evaluation.anywhere import Bundle
    from faceline.evaluation.metrics import Constants

    card, learnt = predictor.card, predictor.card.constants
    return Bundle(
        predictor.predict_crops,
        Constants(age_median=learnt.age_median, gender_majority=learnt.gender, race_majority=learnt.race),
        card.detect,
        card.crop,
        **card.decode.model_dump(),
        temperatures=card.temperatures,
        search=search,
    )


def judge(predictor: "Predictor", picture: Path) -> Judged:
    """The faces of one picture, or why it could not be used."""
    try:
        return Judged(picture, faces=tuple(predictor.predict([picture.read_bytes()])[0]))
    except OSError as error:
        return Judged(picture, error=f"unreadable_file: {error.strerror}")
    except PictureError as error:
        return Judged(picture, error=f"{error.reason}: {error.detail}")


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(table: Table) -> None:
    console = Console()
    console.width = max(console.width, NARROWEST)
    console.print(table)
