"""`ispagent billing`: the billing sources, accounts and payments, and the decisions of people about them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, cast
from urllib.parse import quote

import typer

from agent.age import age_text
from agent.cli import client
from agent.cli.client import Json, ListOutput, call_list, call_object, print_json, print_lines
from agent.cli.when import said
from trust.terminal import Column, neutralize

app = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Source = Annotated[str, typer.Argument(help="The NAME of a source, as `billing list` shows it", metavar="SOURCE")]
SHOWN = 20
"""Services that `list` names."""


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the sources with their states, and the restores that wait."""
    found = call_object("GET", "/v1/billing")
    if as_json:
        print_json(found)
        return
    sources = cast("list[Json]", found["sources"])
    if not sources:
        print("no billing source is configured: nobody can be suspended for debt")
    for source in sources:
        _print(source_lines(source))
    _print(stranger_lines(cast("Json", found.get("strangers") or {"count": 0})))
    _print(doubled_lines(cast("Json", found.get("doubled") or {"count": 0})))
    if found["unmatched"]:
        print(f"{found['unmatched']} payments have no subscriber: ispagent billing payments --unmatched")
    _print_services(f"{found['waiting']} payers wait for their restore", found.get("restores"), found["waiting"])
    count = found["for_people"]
    _print_services(f"{count} suspended services are in doubt: a person looks", found.get("doubtful"), count)


def stranger_lines(strangers: Json) -> list[str]:
    """Return the accounts that are no subscriber's as lines, for lists."""
    count = cast("int", strangers["count"])
    if not count:
        return []
    near = [f"{n['account']} (is it {n['subscriber']}?)" for n in cast("list[Json]", strangers["near"])]
    many = "1 account is" if count == 1 else f"{count} accounts are"
    return [f"{many} no subscriber's of the inventory{': ' if near else ''}{', '.join(near)}"]


def doubled_lines(doubled: Json) -> list[str]:
    """Return the subscribers that several accounts name as lines, for lists."""
    count = cast("int", doubled["count"])
    if not count:
        return []
    some = cast("list[str]", doubled["some"])
    named = ", ".join(some) + (f" and {count - len(some)} more" if count > len(some) else "")
    return [f"several accounts name the same subscriber, and none of them counts: {named}"]


def source_lines(source: Json) -> list[str]:
    """Return a source's state as lines, for lists and the status."""
    age = source["age_s"]
    read = "" if age is None else f", read {age_text(cast('int', age))} ago"
    kept = f" · {source['accounts']} accounts, {source['overdue']} overdue" if source["accounts"] else ""
    state = str(source["state"])
    head = f"{source['source']:<14} {state if state == 'fresh' else state.upper()}{read}{kept}"
    more = [str(source["detail"])] if source["detail"] else []
    if source["payments_problem"]:
        more.append(f"payments: {source['payments_problem']}")
    if source["authority"]:
        head += " · its accounts decide"
    return [head, *(f"{'':<14} {line}" for line in more)]


def _print(lines: list[str]) -> None:
    for line in lines:  # each for itself: a line feed would be shown as an escape
        print(neutralize(line))


def _print_services(head: str, found: object, count: object) -> None:
    if not count:
        return
    print(head)
    listed = cast("list[Json]", found or [])
    for one in listed[:SHOWN]:
        change = f" ({one['change']})" if one.get("change") else ""
        print(neutralize(f"  {one['service']:<20} {one['why']}{change}"))
    if len(listed) > SHOWN:
        print(f"  … {len(listed) - SHOWN} more: --json has all")


@app.command()
def show(
    subscriber: Annotated[str, typer.Argument(help="C-10482", metavar="SUBSCRIBER")], as_json: AsJson = False
) -> None:
    """Show a subscriber in each source: the account, its open invoices, its payments."""
    found = call_object("GET", f"/v1/billing/accounts/{quote(subscriber, safe='')}")
    if as_json:
        print_json(found)
        return
    for account in cast("list[Json]", found["accounts"]):
        for line in account_lines(account):
            print(neutralize(line))
    if found["doubt"]:
        print(neutralize(f"IN DOUBT: {found['doubt']}"))
    for payment in cast("list[Json]", found["payments"]):
        _print(payment_lines(payment))


def account_lines(account: Json) -> list[str]:
    """Return an account as lines for people."""
    who = account["subscriber"] or "no subscriber"
    source = f"{account['source']}: " if "source" in account else ""
    lines = [f"{source}{who} · account {account['key']} · balance {account['balance']} {account['currency']}".rstrip()]
    if Decimal(str(account["credit"])):
        lines.append(f"  credit {account['credit']}, not attached to an invoice")
    for invoice in cast("list[Json]", account["invoices"]):
        number = invoice["number"] or "(no number)"
        lines.append(f"  invoice {number}: {invoice['unpaid']} unpaid, due {invoice['due'] or 'at once'}")
    if account["promise_until"]:
        lines.append(f"  promised to pay until {account['promise_until']}")
    if account["hold_until"]:
        lines.append(f"  postponed until {said(account['hold_until'])}")
    if account["exempt"]:
        lines.append(f"  exempt: {account['exempt']}")
    return lines


_COLUMNS = (
    Column("source"),
    Column("id"),
    Column("paid"),
    Column("amount"),
    Column("state"),
    Column("subscriber"),
    Column("by"),
    Column("case", wide=True),
)


def _row(p: Json) -> tuple[str, ...]:
    return tuple(
        str(v)
        for v in (p["source"], p["id"], p["paid"], _amount(p), p["state"], p["subscriber"], p["matched_by"], p["case"])
    )


def _amount(p: Json) -> str:
    return f"{p['amount']} {p['currency']}".rstrip() if Decimal(str(p["amount"])) else "sum not told"


def payment_lines(p: Json) -> list[str]:
    """Return a payment as lines for people."""
    amount = _amount(p)
    by = f" by {p['matched_by']}" if p["matched_by"] else ""
    head = f"{p['source']} {p['id']}  {p['paid']}  {amount:<14} {p['case']:<16} {p['subscriber'] or '-'}{by}"
    typed = ", ".join(cast("list[str]", p["references"]))
    return [head, *([f"    reference: {typed}"] if typed else []), *([f"    {p['why']}"] if p.get("why") else [])]


@app.command()
def payments(
    unmatched: Annotated[
        bool, typer.Option("--unmatched", help="Only payments without a subscriber, each with the reason")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that lists and the billing file tell of, beside the sources")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Payments to show")] = 100,
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """List payments, the latest first."""
    asked = f"limit={limit}{'&unmatched=1' if unmatched else ''}{'&all=1' if every else ''}"
    found = call_list("GET", f"/v1/billing/payments?{asked}")
    text = "\n".join(neutralize(line) for p in found for line in payment_lines(p)) or "no payments"
    print_lines(found, output, as_json, _COLUMNS, _row, lambda: text)


@app.command()
def match(
    source: Source,
    payment: Annotated[str, typer.Argument(help="Its id, as `billing payments` shows it", metavar="PAYMENT")],
    subscriber: Annotated[str, typer.Argument(help="The subscriber that paid: C-10482", metavar="SUBSCRIBER")],
    as_json: AsJson = False,
) -> None:
    """Match a payment to a subscriber; the log keeps your name."""
    body = {"source": source, "payment": payment, "subscriber": subscriber}
    found = call_object("POST", "/v1/billing/match", body)
    if as_json:
        print_json(found)
        return
    _print(payment_lines(found))


@app.command()
def accept(source: Source, as_json: AsJson = False) -> None:
    """Accept a reading with less than half, or more than twice, of the accounts before; the log keeps your name."""
    found = call_object("POST", "/v1/billing/accept", {"source": source})
    if as_json:
        print_json(found)
        return
    print(f"{source}: {found['accounts']} accounts, {found['overdue']} overdue, accepted: it is read again now")


@app.command()
def check(source: Source, as_json: AsJson = False) -> None:
    """Try a source: its credentials and rights, and three accounts as they would be understood. Nothing is stored."""
    found = call_object("POST", "/v1/billing/check", {"source": source}, timeout_s=90)
    if as_json:
        print_json(found)
    else:
        for line in check_lines(found):
            print(neutralize(line))
    if not found["ok"]:
        raise typer.Exit(client.FAILED)


def check_lines(found: Json) -> list[str]:
    """Return the findings of a check of a source, as lines for people."""
    head = f"{found['target']} answers" if found["ok"] else f"{found['target']} CANNOT BE READ"
    lines = [head, *(f"  {text}" for text in cast("list[str]", found["problems"]))]
    lines += [f"  {text}" for text in cast("list[str]", found["rights"])]
    for account in cast("list[Json]", found["accounts"]):
        lines += [f"  {line}" for line in account_lines(account)]
    if found["payments_of_a_day"] is not None:
        lines.append(f"  {found['payments_of_a_day']} payments within a day")
    return lines


@app.command()
def hook(
    source: Annotated[str, typer.Argument(help="The NAME of a source; none: all that are called")] = "",
    as_json: AsJson = False,
) -> None:
    """Print the secret URL at which a source's system calls; without SOURCE, how many calls were refused, and why."""
    found = call_object("GET", f"/v1/billing/hooks/{quote(source, safe='')}" if source else "/v1/billing/hooks")
    if as_json:
        print_json(found)
    elif source:
        print(neutralize(str(found["url"])))
    else:
        for line in hook_lines(found):
            print(neutralize(line))


def hook_lines(found: Json) -> list[str]:
    """Return the sources that are called and the counts of refused calls, as lines for people."""
    if not found["listening"]:
        return ["nobody calls: [hooks] listen is not configured"]
    lines = [f"port {found['port']}: {', '.join(cast('list[str]', found['sources'])) or 'no source has hook = true'}"]
    for name, counts in cast("dict[str, dict[str, int]]", found["refused"]).items():
        told = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        lines.append(f"  refused, {name or 'of no source'}: {told}")
    return lines
