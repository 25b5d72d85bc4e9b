"""``clock load``: a load test of a running service, results of several hosts, a journal held against the books."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, get_args

import click

from clock.cli.load_kinds import FILE, Condition, Instant, Load, Part, Refused, Span
from clock.cli.shell import cli
from clock.load import comparing, curve, report, result, running, target, thresholds
from clock.load.job import MOST_PARTS, Job, Told, Users, Verb
from clock.load.journal import BadJournal
from clock.load.players import BadKey, signer, tokens_in

LATE, CUT, BROKEN = 3, 2, 1
LINE_SECONDS = 5.0


def conditions(command: Callable[..., None]) -> Callable[..., None]:
    """The options of whatever ends with a report."""
    for option in (
        click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="A folder for JSON, text, plots."),
        click.option(
            "--fail-if", "fail_if", type=Condition(), multiple=True, help="As p99>500ms, errors>1%, rate<1000; several."
        ),
    ):
        command = option(command)
    return command


@cli.group(cls=Load)
def load() -> None:
    """Test a running service under load: clock load URL [VERB] …, with all options: clock load run --help.

    Exit status: 0 ok, 1 a condition of --fail-if holds or the journal differs from the books, 2 usage or target, 3 the
    generator itself was late.
    """


@load.command()
@click.argument("url")
@click.argument("verb", type=click.Choice(get_args(Verb)), default="summary")
@click.option("--uids", type=Span(), help="The players, as 1000001-1010000.")
@click.option("--jwt-secret-file", type=FILE, help="Makes their tokens (HS256).")
@click.option("--jwt-key-file", type=FILE, help="Makes their tokens: a private key, PEM (RS256, ES256, EdDSA).")
@click.option("--tokens-file", type=FILE, help="Has their tokens, in lines: uid token.")
@click.option("--curve", type=click.Choice(["instant", "steady", "ramp", "file"]), default="steady", show_default=True)
@click.option("--requests", type=click.IntRange(1, curve.MOST_REQUESTS), help="instant: how many; else one a player.")
@click.option(
    "--rate", type=click.FloatRange(0, 1e6, min_open=True), default=100.0, show_default=True, help="A second."
)
@click.option(
    "--from-rate", type=click.FloatRange(0, 1e6), default=0.0, show_default=True, help="ramp: where it begins."
)
@click.option("--seconds", type=click.FloatRange(0.1, curve.MOST_SECONDS), default=10.0, show_default=True)
@click.option("--curve-file", type=FILE, help="file: lines seconds,requests.")
@click.option("--connections", type=click.IntRange(1, 60_000), default=100, show_default=True, help="At most, at once.")
@click.option("--cold", is_flag=True, help="A new connection for each request.")
@click.option("--ca-file", type=FILE, help="https: whom to trust, in place of the system's authorities.")
@click.option("--processes", type=click.IntRange(1, 64), help="On this host; else one a processor, four at most.")
@click.option("--part", type=Part(), default="1/1", show_default=True, help="Of several hosts: which of how many.")
@click.option("--start-at", type=Instant(), help="When to begin, for several hosts to begin together.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=10.0, show_default=True)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    help="Seconds after the last planned request; then the run ends.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 20),
    default=0,
    show_default=True,
    help="After a timeout, a broken connection, 429, 503: with the same body, after Retry-After.",
)
@click.option("--double-taps", type=click.FloatRange(0, 100), default=0.0, show_default=True, help="Percent.")
@click.option("--expect", "expected", multiple=True, metavar="CODE", help="Any other answer is an error; several.")
@click.option(
    "--pay",
    type=click.Choice(["none", "sandbox"]),
    default="none",
    show_default=True,
    help="sandbox: joining users pay, in development alone.",
)
@click.option(
    "--late-bound",
    "late_bound_ms",
    type=click.FloatRange(0),
    default=50.0,
    show_default=True,
    help="Milliseconds; later than that at p99, and the run has failed.",
)
@click.option("--journal", type=click.Path(dir_okay=False, path_type=Path), help="A file: what was acknowledged.")
@click.option("--not-development", is_flag=True, help="With the next one: the target may be a real service.")
@click.option("--money-may-move", is_flag=True, help="With the one before: real orders and payouts are meant.")
@conditions
def run(url: str, verb: Verb, out: Path | None, fail_if: Sequence[thresholds.Threshold], **given: Any) -> None:
    """Send VERB to the service at URL, and report.

    VERB: guest and summary (the home page, without and with a user), me, status, join, check-in, claim; or day: what
    each phone would do at the hour that the service has."""
    kept: Path | None = given["journal"]
    if kept is not None and (kept.exists() or not kept.parent.is_dir()):
        raise click.UsageError(f"{kept} exists already, or its folder does not")
    try:
        planned, users = _curve(given), _users(given, verb)
        there = target.Target(url, given["ca_file"])
        there.look()
        target.refuse_real_money(
            there, verb, given["pay"] == "sandbox", (given["not_development"], given["money_may_move"])
        )
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from None
    except (curve.BadCurve, BadKey, target.BadTarget) as error:
        raise Refused(str(error)) from None
    job = _job(verb, planned, users, there, given)
    hosts = given["part"][1]
    processes = min(given["processes"] or running.processes_here(), job.connections, len(users) // hosts)
    if not processes:
        raise click.UsageError(f"{len(users)} players are not enough for {hosts} hosts")
    try:
        measured = running.run(job, processes, given["part"], given["start_at"], kept, _progress())
    except running.Failed as error:
        raise Refused(str(error)) from None
    if sys.stderr.isatty():
        click.echo(err=True)
    for line in left_behind(verb, there, kept):
        click.echo(line, err=True)
    _end(measured, fail_if, out)


def _curve(given: dict[str, Any]) -> curve.Curve:
    """Raises :class:`~clock.load.curve.BadCurve`."""
    if (given["curve"] == "file") != (given["curve_file"] is not None):
        raise click.UsageError("--curve file and --curve-file belong together")
    if given["curve"] == "file":
        return curve.recorded(given["curve_file"])
    if given["curve"] == "instant":
        return curve.instant(given["requests"] or (given["uids"] or (0, 1))[1])
    if given["requests"]:
        raise click.UsageError("--requests is for --curve instant; otherwise rate and seconds say how many")
    first = given["from_rate"] if given["curve"] == "ramp" else given["rate"]
    return curve.ramp(first, given["rate"], given["seconds"])


def _users(given: dict[str, Any], verb: str) -> Users:
    """Raises :class:`~clock.load.players.BadKey`."""
    names = [name for name in ("jwt_secret_file", "jwt_key_file", "tokens_file") if given[name]]
    if verb == "guest":
        return Users(first=1, count=MOST_PARTS)
    if len(names) != 1:
        raise click.UsageError("players need tokens: one of --jwt-secret-file, --jwt-key-file and --tokens-file")
    [name] = names
    try:
        text = given[name].read_text("utf-8")
    except UnicodeDecodeError:
        raise BadKey(f"{given[name]} is not text") from None
    if name == "tokens_file":
        return Users(tokens=tokens_in(text, str(given[name])))
    if given["uids"] is None:
        raise click.UsageError("--uids FIRST-LAST says who plays")
    first, count = given["uids"]
    users = Users(
        first=first, count=count, **{"jwt_secret_file": {"secret": text.strip()}}.get(name, {"private_key": text})
    )
    signer(users)(first)
    return users


def _job(verb: Verb, planned: curve.Curve, users: Users, there: target.Target, given: dict[str, Any]) -> Job:
    return Job(
        url=there.url,
        address=there.address,
        ca_pem=there.ca_pem,
        verb=verb,
        curve=planned,
        users=users,
        connections=given["connections"],
        cold=given["cold"],
        timeout_s=given["timeout_s"],
        patience_s=given["patience_s"],
        retries=given["retries"],
        double_share=given["double_taps"] / 100,
        pays=given["pay"] == "sandbox",
        expected=list(given["expected"]),
        late_bound_us=int(given["late_bound_ms"] * 1000),
        day_zero_ms=there.day_zero_ms,
        day_zero=there.day_zero.isoformat(),
        clock_ahead_s=there.ahead_s,
    )


def _progress() -> running.Listener:
    """On a terminal one line that is written again and again, elsewhere a line now and then."""
    said_at = -LINE_SECONDS

    def listen(seconds: float, told: Sequence[Told]) -> None:
        nonlocal said_at
        planned, answered = sum(one.planned for one in told), sum(one.answered for one in told)
        errors = sum(one.errors for one in told)
        p99_ms, late_ms = max(one.p99_us for one in told) / 1000, max(one.late_us for one in told) / 1000
        line = (
            f"{seconds:6.1f} s  planned {planned:,}  answered {answered:,}  errors {errors:,}  "
            f"p99 {p99_ms:,.1f} ms  late {late_ms:,.1f} ms"
        )
        if sys.stderr.isatty():
            click.echo(f"\r{line}   ", err=True, nl=False)
        elif monotonic() - said_at >= LINE_SECONDS:
            said_at = monotonic()
            click.echo(line, err=True)

    return listen


def left_behind(verb: str, there: target.Target, kept: Path | None) -> list[str]:
    """What the run has made there and nothing takes back: there is no call for that."""
    if verb not in ("join", "day"):
        return []
    where = f"clock load compare {there.url} {kept} names them" if kept else "keep a --journal to know them"
    return [
        f"left at {there.url}: orders of the round of {there.today()}, the players' profiles, and members where they "
        f"have paid. No call takes them back; {where}, unpaid orders end with their round"
    ]


def _end(measured: result.Result, fail_if: Sequence[thresholds.Threshold], out: Path | None) -> None:
    """Report, and exit by what was found."""
    broken = [one.told(measured) for one in fail_if if one.is_broken_by(measured)]
    click.echo("\n".join([*report.lines(measured), *(f"BROKEN     {line}" for line in broken)]))
    if out is not None:
        report.write(measured, broken, out)
    status = LATE if measured.was_late else CUT if not measured.is_whole else BROKEN if broken else 0
    if status:
        sys.exit(status)


@load.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@conditions
def merge(files: Sequence[Path], out: Path | None, fail_if: Sequence[thresholds.Threshold]) -> None:
    """One report of several hosts' result.json."""
    try:
        whole = result.joined([result.read(path) for path in files])
    except result.Unfit as error:
        raise Refused(str(error)) from None
    _end(whole, fail_if, out)


@load.command()
@click.argument("url")
@click.argument("journal", type=FILE)
@click.option("--token-file", type=FILE, required=True, help="Has an operator's token, with the right read.")
@click.option("--sample", type=click.IntRange(0, 100_000), default=200, show_default=True, help="Users of each round.")
@click.option("--patience", type=click.FloatRange(0, 3600), default=60.0, show_default=True, help="For the outbox.")
@click.option("--ca-file", type=FILE)
def compare(url: str, journal: Path, token_file: Path, sample: int, patience: float, ca_file: Path | None) -> None:
    """Hold JOURNAL against the books of the service at URL: what was acknowledged is in them."""
    try:
        rounds = comparing.gathered(journal)
        books = comparing.Books(target.Target(url, ca_file), token_file.read_text("utf-8").strip(), sample, patience)
        found = 0
        for found, difference in enumerate(books.differences(rounds), 1):
            if found <= comparing.MOST_NAMED:
                click.echo(difference)
    except (BadJournal, target.BadTarget) as error:
        raise Refused(str(error)) from None
    for day, told in sorted(rounds.items()):
        told_of = f"{len(told.members):,} members, {len(told.winners):,} check-ins, {len(told.claimed):,} packets"
        click.echo(f"{day}: {told_of} were acknowledged")
    click.echo(f"{found:,} differences")
    if found:
        sys.exit(BROKEN)
