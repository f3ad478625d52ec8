"""The report as one HTML page that can be sent to anyone: no script, no external resource, no secret."""

import base64
import hashlib
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from camara_otp._version import __version__
from camara_otp.conformance.model import (
    Deviation,
    Grade,
    Latency,
    Operation,
    Origin,
    Outcome,
    Report,
    Shown,
    Verdict,
)
from camara_otp.conformance.reports.data import OPERATIONS, TITLES, counts_of, latency_of, outcomes_of

_STYLE: Final = Path(__file__).with_name("page.css")
_KINDS: Final[dict[Grade, str]] = {Grade.BREAKS: "breaks", Grade.DIFFERS: "differs", Grade.ADVICE: "advice"}
_BADGES: Final[dict[Grade | None, tuple[str, str]]] = {
    None: ("pass", "No deviation"),
    Grade.ADVICE: ("pass", "Advice only"),
    Grade.DIFFERS: ("differs", "Differs from the contract"),
    Grade.BREAKS: ("breaks", "Breaks clients"),
}
_FOOTER: Final = (
    "<footer><p>Tokens, codes, ids and phone numbers are masked. Tags without the prefix "
    "<code>camara_otp_</code> or <code>contract_</code> are CAMARA's own.</p></footer>"
)
_MAX_PLACES: Final = 8


def as_html(report: Report) -> str:
    """Return the report as one self-contained page.

    Args:
        report: the report
    """
    style = _STYLE.read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    sections = (
        _hero(report),
        _tiles(report),
        _client(report),
        _deviations(report),
        _not_run(report),
        _chart(report),
        *(_table(report, origin, title) for origin, title in TITLES.items()),
        _FOOTER,
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>Check of {escape(report.base_url)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _badge(kind: str, words: str, *, big: bool = False) -> str:
    return f'<span class="badge {kind}{" big" if big else ""}">{escape(words)}</span>'


def _hero(report: Report) -> str:
    worst = report.worst or 0
    # An operator without a bad deviation has one badge: not judged, or that of the worst deviation.
    badges = [_BADGES[report.worst]] if worst > Grade.ADVICE or not report.not_judged else []
    badges += [("notjudged", "Not judged")] if report.not_judged else []
    return (
        '<div class="hero"><div>'
        f'<p class="sub">Check of a CAMARA One Time Password SMS endpoint, release {report.release}</p>'
        f"<h1>{escape(report.base_url)}{escape(report.api_path)}</h1>"
        f'<p class="sub">{_date(report.started_at)} &middot; camara-otp {escape(__version__)}</p></div>'
        f'<div class="badges">{"".join(_badge(*words, big=True) for words in badges)}</div></div>'
    )


def _date(iso: str) -> str:
    return f'<time datetime="{escape(iso)}">{escape(iso.replace("T", " ").replace("+00:00", " UTC"))}</time>'


def _tiles(report: Report) -> str:
    tiles = {
        **{f"scenarios {word}": count for word, count in counts_of(report, rules=False).items()},
        **{f"rules {word}": count for word, count in counts_of(report, rules=True).items()},
        "SMS sent": report.texts,
        "responses": len(report.latencies),
        "duration": _seconds(report.seconds),
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles.items())
    return f'<dl class="tiles">{rows}</dl>'


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.{0 if seconds >= 0.01 or not seconds else 1}f} ms"
    return f"{seconds:.1f} s"


def _client(report: Report) -> str:
    advice = "".join(f"<li>{_prose(line)}</li>" for line in report.recommendations)
    return (
        f"<h2>A client for this operator</h2>\n<pre><code>{escape(report.client)}</code></pre>"
        f"{f'<ul>{advice}</ul>' if advice else ''}"
    )


def _prose(text: str) -> str:
    """Return a sentence as HTML, with words between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _not_run(report: Report) -> str:
    reason = f"<p><strong>Not judged:</strong> {_prose(report.not_judged)}.</p>" if report.not_judged else ""
    rows = "".join(
        f"<li>{_prose(why)} <small>({len(tags)}: {', '.join(map(escape, tags))})</small></li>"
        for why, tags in report.skips().items()
    )
    if not reason and not rows:
        return ""
    listed = f"<p>Not run, and why:</p><ul>{rows}</ul>" if rows else ""
    return f'<h2>What was not checked</h2>\n<div class="card">{reason}{listed}</div>'


def _anchor(report: Report, tag: str) -> str:
    """Return the HTML id of the worst deviation of a scenario or rule."""
    places = (at for at, found in enumerate(report.deviations, 1) if any(place.tag == tag for place in found.places))
    return f"deviation-{next(places)}"


def _deviations(report: Report) -> str:
    if not report.deviations:
        return '<h2>Deviations</h2>\n<p class="card">None: every response follows the contract.</p>'
    cards = (_deviation(found, at, opened=at == 1) for at, found in enumerate(report.deviations, 1))
    return f"<h2>Deviations ({len(report.deviations)})</h2>\n" + "\n".join(cards)


def _deviation(deviation: Deviation, at: int, *, opened: bool) -> str:
    cause = deviation.cause
    places = [f"<li><code>{escape(place.tag)}</code>: {_prose(place.text)}</li>" for place in deviation.places]
    more = len(places) - _MAX_PLACES
    rest = (
        f"<details><summary>{more} more</summary><ul>{''.join(places[_MAX_PLACES:])}</ul></details>" if more > 0 else ""
    )
    facts = "".join(
        f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in (("rule", cause.rule), ("source", cause.source))
    )
    return (
        f'<article class="card deviation" id="deviation-{at}">'
        f"<header><h3>{_prose(cause.title)}</h3>"
        f"{_badge(_KINDS[deviation.grade], deviation.grade.words)}</header>"
        f'<div class="pair"><div><h4>The operator has to change</h4><p>{_prose(cause.operator)}</p></div>'
        f"<div><h4>A client developer has to expect</h4><p>{_prose(cause.client)}</p></div></div>"
        f'<dl class="facts">{facts}</dl><h4>Where it shows</h4><ul>{"".join(places[:_MAX_PLACES])}</ul>{rest}'
        f"{_exchanges(deviation.examples, opened=opened)}</article>"
    )


def _exchanges(exchanges: Sequence[Shown], *, opened: bool) -> str:
    if not exchanges:
        return ""
    title = "request and response" if len(exchanges) == 1 else f"{len(exchanges)} requests and responses"
    state = " open" if opened else ""
    return f"<details{state}><summary>{title}</summary>{''.join(map(_exchange, exchanges))}</details>"


def _exchange(exchange: Shown) -> str:
    step = "" if exchange.role == "judged" else " (preparation)"
    took = "" if exchange.seconds is None else f", after {_seconds(exchange.seconds)}"
    return (
        f'<div class="pair"><figure><figcaption>request{step}</figcaption>'
        f"<pre>{escape(exchange.request)}</pre></figure>"
        f"<figure><figcaption>response{took}</figcaption><pre>{escape(exchange.answer)}</pre></figure></div>"
    )


def _table(report: Report, origin: Origin, title: str) -> str:
    rows = "\n".join(_row(report, outcome) for outcome in outcomes_of(report, origin))
    return (
        f'<h2>{title}</h2>\n<div class="scroll" role="region" tabindex="0" aria-label="{title}"><table>\n'
        '<thead><tr><th scope="col">verdict</th><th scope="col">scenario or rule</th>'
        '<th scope="col">expected response</th><th scope="col" class="time">time</th></tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _row(report: Report, outcome: Outcome) -> str:
    tag = f"<code>{escape(outcome.tag)}</code>"
    if outcome.findings:
        tag = f'<a href="#{_anchor(report, outcome.tag)}">{tag}</a>'
    notes = [f"<small>{escape(outcome.sent)}</small>"] if outcome.origin != "contract" else []
    if outcome.reason:
        word = "Not judged" if outcome.verdict is Verdict.NOT_JUDGED else "Skipped"
        notes.append(f"<small>{word}: {_prose(outcome.reason)}</small>")
    time = _seconds(outcome.seconds) if outcome.seconds else ""
    return (
        f"<tr><td>{_badge(outcome.verdict.value.replace(' ', ''), outcome.verdict.value)}</td>"
        f'<th scope="row">{tag}{"".join(notes)}</th><td>{escape(outcome.rule).replace(".", ".<wbr>")}</td>'
        f'<td class="time">{time}</td></tr>'
    )


_WIDE, _HIGH, _LEFT, _BOTTOM, _TOP = 1000, 240, 62, 26, 14


def _chart(report: Report) -> str:
    if not report.latencies:
        return ""
    legend = "".join(
        '<span><svg viewBox="0 0 12 12" aria-hidden="true">'
        f'<rect width="12" height="12" rx="3" class="{_kind(operation)}"/></svg>'
        f"{operation}: median {_seconds(found['median'])}, 95 % within {_seconds(found['p95'])}, "
        f"worst {_seconds(found['worst'])}</span>"
        for operation in OPERATIONS
        for found in [latency_of(report, operation)]
        if found
    )
    return (
        f'<h2>How long responses took</h2>\n<div class="card chart" role="region" tabindex="0" aria-label="Latency">'
        f'<p class="legend">{legend}</p>'
        f"{_bars(report.latencies)}"
        "</div>"
    )


def _kind(operation: Operation) -> str:
    return operation.removesuffix("-code")


def _bars(latencies: Sequence[Latency]) -> str:
    top = _round_up(max(latency.seconds for latency in latencies))
    plot = _HIGH - _BOTTOM - _TOP
    step = (_WIDE - _LEFT) / len(latencies)
    bars = "".join(
        f'<rect class="{_kind(latency.operation)}" x="{_LEFT + index * step + 0.1 * step:.1f}" '
        f'y="{_TOP + plot - height:.1f}" width="{0.8 * step:.1f}" height="{height:.1f}" '
        f'rx="{min(2.0, 0.3 * step):.1f}">'
        f"<title>{latency.operation}: {latency.status} after {_seconds(latency.seconds)}</title></rect>"
        for index, latency in enumerate(latencies)
        for height in [max(1.0, plot * latency.seconds / top)]
    )
    lines = "".join(
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDE}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_seconds(top * share)}</text>'
        for share in (0, 0.5, 1)
        for y in [_TOP + plot * (1 - share)]
    )
    return (
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="Latency of {len(latencies)} responses, '
        f'in the order in which they came">{lines}{bars}<text x="{_LEFT}" y="{_HIGH - 6}">first response</text>'
        f'<text x="{_WIDE}" y="{_HIGH - 6}" text-anchor="end">last response</text></svg>'
    )


def _round_up(seconds: float) -> float:
    """Return a round number of seconds that is not smaller."""
    size = 10.0 ** math.floor(math.log10(max(seconds, 1e-4)))
    return next(factor * size for factor in (1, 2, 4, 6, 8, 10) if seconds <= factor * size * (1 + 1e-9))
