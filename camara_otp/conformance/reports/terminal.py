"""The report at a terminal: a line of progress while the check runs, then the deviations. Needs Rich."""

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from camara_otp.conformance.hooks import Prompt, prompt_at_terminal
from camara_otp.conformance.model import Deviation, Grade, Outcome, Report, Shown, Verdict
from camara_otp.conformance.planning import Plan
from camara_otp.conformance.reports.data import TITLES, counts_of, outcomes_of
from camara_otp.conformance.runner import OnEvent
from camara_otp.conformance.scenarios import Scenario

_VERDICTS: Final = {
    Verdict.PASS: ("green", "✓ pass"),
    Verdict.FAIL: ("red", "✗ fail"),
    Verdict.SKIP: ("dim", "- skip"),
    Verdict.NOT_JUDGED: ("magenta", "? open"),
}
_GRADES: Final = {Grade.BREAKS: "bold red", Grade.DIFFERS: "yellow", Grade.ADVICE: "dim"}
_COUNTS: Final = {"passed": "green", "failed": "red", "skipped": "dim", "not judged": "magenta"}
_LINES: Final = 14
_MAX_PLACES: Final = 5


@contextmanager
def progress(console: Console, plan: Plan) -> Generator[tuple[OnEvent, Prompt]]:
    """Show the progress of the check, and yield an event handler and a prompt; print nothing without a terminal.

    Args:
        console: the terminal
        plan: the plan of the check
    """
    if not console.is_interactive:
        yield (lambda _: None), prompt_at_terminal
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("starting", total=len(plan.steps))

        def on_event(event: Scenario | Outcome) -> None:
            if isinstance(event, Scenario):
                tag = event.tag.removeprefix("OTPvalidationAPI_").removeprefix("camara_otp_")
                shown.update(task, description=tag.ljust(46)[:46])
            elif event.origin != "contract":
                shown.advance(task)
                if event.verdict is Verdict.FAIL:
                    shown.console.print(
                        Text("✗ ", "red") + Text(event.tag) + Text(f"  {event.findings[0].text}", "dim")
                    )

        async def prompt(question: str) -> str:
            shown.stop()
            try:
                return await prompt_at_terminal(question)
            finally:
                shown.start()

        yield on_event, prompt


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def announcement(plan: Plan, url: str, *, sandbox: bool = False) -> RenderableType:
    """Return the words that are shown before a check starts: its cost and the scenarios that are left out.

    Args:
        plan: the plan of the check
        url: the API root of the operator
        sandbox: whether it is a sandbox, whose phones are simulated
    """
    running = [step for step in plan.steps if not step.skip]
    phones = len({step.number for step in running if step.texts})
    text = Text()
    text.append(_counted(len(running), "scenario"), "bold")
    text.append(f" against {url}\n")
    if plan.texts:
        text.append(f"{plan.texts}{'' if sandbox else ' real'} SMS", "bold yellow")
        text.append(f" to {_counted(phones, 'phone')}")
    else:
        text.append("No SMS is sent", "bold")
        if any(step.scenario.operation == "send-code" for step in running):
            text.append(", if the operator refuses the requests that it has to refuse")
    if sandbox:
        text.append("\nThis is a sandbox: its own numbers and inbox are used, and its clock is moved ahead", "dim")
    for reason, count in Counter(step.skip for step in plan.steps if step.skip).items():
        text.append(f"\n{count} left out: {reason}", "dim")
    return Panel(text, title="Check", title_align="left", border_style="dim")


def rendered(report: Report, *, every: bool) -> RenderableType:
    """Return the report for a terminal.

    Args:
        report: the report
        every: whether to list the scenarios and rules that passed as well
    """
    parts: list[RenderableType] = []
    for origin, title in TITLES.items():
        listed = [each for each in outcomes_of(report, origin) if every or each.verdict is not Verdict.PASS]
        if listed:
            parts += [Text(f"\n{title}", "bold"), _table(listed)]
    parts += [_details(deviation) for deviation in report.deviations]
    return Group(*parts, _summary(report))


def _table(outcomes: Sequence[Outcome]) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 1), expand=True)
    table.add_column(width=6, no_wrap=True)
    table.add_column(ratio=3, overflow="fold")
    table.add_column(ratio=2, overflow="fold")
    for outcome in outcomes:
        style, word = _VERDICTS[outcome.verdict]
        if outcome.verdict is Verdict.FAIL:
            note = Text(outcome.findings[0].text)
        else:
            note = Text(outcome.reason or outcome.rule, "dim")
        table.add_row(Text(word, style), Text(outcome.tag), note)
    return table


def _details(deviation: Deviation) -> RenderableType:
    cause, style = deviation.cause, _GRADES[deviation.grade]
    text = Text.assemble(
        (f"{deviation.grade.words}\n", style),
        ("the operator has to change  ", "bold"),
        f"{cause.operator}\n",
        ("a client has to expect      ", "bold"),
        f"{cause.client}\n",
        (f"rule    {cause.rule}\nsource  {cause.source}\n", "dim"),
    )
    for place in deviation.places[:_MAX_PLACES]:
        text.append(f"\n{place.tag}", "dim").append(f"  {place.text}")
    if len(deviation.places) > _MAX_PLACES:
        text.append(f"\n... and {len(deviation.places) - _MAX_PLACES} more", "dim")
    examples = [Padding(_exchange(shown), (1, 0, 0, 0)) for shown in deviation.examples[:1]]
    return Panel(Group(text, *examples), title=escape(cause.title), title_align="left", border_style=style)


def _exchange(exchange: Shown) -> RenderableType:
    text = Text()
    for mark, style, block in ((">", "cyan", exchange.request), ("<", "magenta", exchange.answer)):
        lines = [line for line in block.splitlines() if line]
        for line in lines[:_LINES]:
            text.append(f"{mark} ", style)
            text.append(f"{line}\n")
        if len(lines) > _LINES:
            text.append(f"{mark} ... {len(lines) - _LINES} more lines\n", "dim")
    text.rstrip()
    return text


def _summary(report: Report) -> RenderableType:
    text = Text()
    for name, rules in (("Scenarios:", False), ("Rules:", True)):
        text.append(name.ljust(11), "dim")
        for word, count in counts_of(report, rules=rules).items():
            text.append(f"{count} {word}   ", _COUNTS[word] if count else "dim")
        text.append("\n")
    text.append(f"{report.texts} SMS   {_counted(len(report.latencies), 'response')}   {report.seconds:.1f} s\n", "dim")
    deviations = ", ".join(f"{count} {grade.words}" for grade, count in report.grades().items() if count)
    text.append(f"Deviations: {deviations or 'none'}\n")
    if report.not_judged:
        text.append(f"Not judged: {report.not_judged}\n", "bold magenta")
    for reason, tags in report.skips().items():
        text.append(f"{len(tags)} not run: {reason}\n", "dim")
    text.append("\nA client for this operator:\n", "bold")
    text.append(f"  {report.client}")
    for line in report.recommendations:
        text.append(f"\n  - {line}", "dim")
    style = "red" if (report.worst or 0) >= Grade.DIFFERS else "magenta" if report.not_judged else "green"
    return Panel(text, title="Result", title_align="left", border_style=style)
