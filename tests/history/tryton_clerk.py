"""A clerk at a Tryton: sets up a company, posts invoices, takes payments. Run by Debian's own Python, which has proteus
and Tryton; it imports nothing of ours.

    python3 tryton_clerk.py trytond.conf DATABASE < orders.json

Orders are a JSON list, done in their order, which must be that of their days:

    {"do": "invoice", "number": "C-1-01", "party": "C-1", "day": "2025-01-03", "due": "2025-01-17", "amount": "34.00"}
    {"do": "pay", "number": "C-1-01", "day": "2025-01-20", "amount": "20.00"}
    {"do": "deposit", "id": "C-1-01.0", "party": "C-1", "day": "2025-01-20", "amount": "34.00"}
    {"do": "take back", "id": "C-1-01.0", "day": "2025-01-25"}
    {"do": "forgive", "id": "N1", "party": "C-1", "day": "2025-01-25", "amount": "5.00"}
    {"do": "void", "number": "C-1-01", "day": "2025-01-25"}
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sys
from decimal import Decimal
from typing import Any

from proteus import Model, Wizard, config  # type: ignore[import-not-found]  # of Debian's Python

YEARS = (2024, 2025, 2026, 2027)


def main() -> None:
    """Do the orders."""
    config.set_trytond(sys.argv[2], config_file=sys.argv[1])
    clerk = Clerk()
    for order in json.load(sys.stdin):
        clerk.do(order)


class Clerk:
    """Works for one company. Everything that it needs is made when it begins."""

    def __init__(self) -> None:
        """Make a company with a chart of accounts, fiscal years and a way of payment, where there is none yet."""
        company = Model.get("company.company")
        if not company.find():
            self._make_company()
        self._company = company.find()[0]
        if not self._company.cancel_invoice_out:
            self._company.cancel_invoice_out = True
            self._company.save()
        self._user = Model.get("res.user").find([("login", "=", "admin")])[0]
        accounts = Model.get("account.account")
        if not accounts.find():
            self._make_chart()
            for year in YEARS:
                self._make_year(year)
        self._receivable = accounts.find([("type.receivable", "=", True)], limit=1)[0]
        self._revenue = accounts.find([("type.revenue", "=", True)], limit=1)[0]
        self._cash = accounts.find([("name", "=", "Main Cash")], limit=1)[0]
        journals = Model.get("account.journal")
        self._cash_journal = journals.find([("type", "=", "cash")], limit=1)[0]
        self._revenue_journal = journals.find([("type", "=", "revenue")], limit=1)[0]
        self._method = self._make_method()
        self._terms: dict[int, Any] = {}
        self._parties: dict[str, Any] = {}

    def do(self, order: dict[str, str]) -> None:
        """Do one order."""
        day = dt.date.fromisoformat(order["day"])
        match order["do"]:
            case "invoice":
                self._invoice(order, day)
            case "pay":
                self._pay(order, day)
            case "deposit":
                self._move(order, day, self._cash, self._cash_journal)
            case "forgive":
                self._move(order, day, self._revenue, self._revenue_journal)
            case "take back":
                self._take_back(order)
            case "void":
                self._find("account.invoice", "reference", order["number"]).click("cancel")
            case other:
                raise ValueError(f"no order is called {other!r}")

    def _invoice(self, order: dict[str, str], day: dt.date) -> None:
        invoice = Model.get("account.invoice")()
        invoice.party = self._party(order["party"])
        invoice.reference = order["number"]
        invoice.invoice_date = day
        invoice.payment_term = self._term((dt.date.fromisoformat(order["due"]) - day).days)
        line = invoice.lines.new()
        line.account = self._revenue
        line.description = "Internet"
        line.quantity = 1
        line.unit_price = Decimal(order["amount"])
        invoice.save()
        # Tryton asks whether a due day in the past is meant; a person would say yes.
        asked = hashlib.md5(f"account.invoice,{invoice.id}".encode()).hexdigest()
        warning = Model.get("res.user.warning")(user=self._user, name=f"{asked}.invoice_payment_term", always=True)
        warning.save()
        invoice.click("post")

    def _pay(self, order: dict[str, str], day: dt.date) -> None:
        invoice = self._find("account.invoice", "reference", order["number"])
        pay = invoice.click("pay")
        pay.form.amount = Decimal(order["amount"])
        pay.form.payment_method = self._method
        pay.form.date = day
        pay.execute("choice")
        if pay.state != "end":
            pay.form.type = "partial"
            pay.execute("pay")

    def _move(self, order: dict[str, str], day: dt.date, other: Any, journal: Any) -> None:
        """Lower what a party owes by an entry that stands on no invoice."""
        move = Model.get("account.move")()
        move.journal = journal
        move.period = Model.get("account.period").find(
            [("start_date", "<=", day), ("end_date", ">=", day), ("type", "=", "standard")], limit=1
        )[0]
        move.date = day
        move.description = order["id"]
        for account, debit, credit in ((other, order["amount"], "0"), (self._receivable, "0", order["amount"])):
            line = move.lines.new()
            line.account = account
            line.debit, line.credit = Decimal(debit), Decimal(credit)
            if account.party_required:
                line.party = self._party(order["party"])
        move.click("post")

    def _take_back(self, order: dict[str, str]) -> None:
        cancel = Wizard("account.move.cancel", [self._find("account.move", "description", order["id"])])
        cancel.form.description = "taken back"
        cancel.form.reversal = True
        cancel.execute("cancel")

    @staticmethod
    def _find(kind: str, field: str, text: str) -> Any:
        return Model.get(kind).find([(field, "=", text)])[0]

    def _party(self, name: str) -> Any:
        if name not in self._parties:
            parties = Model.get("party.party")
            found = parties.find([("code", "=", name)])
            self._parties[name] = found[0] if found else parties(name=name, code=name)
            self._parties[name].save()
        return self._parties[name]

    def _term(self, days: int) -> Any:
        if days not in self._terms:
            term = Model.get("account.invoice.payment_term")(name=f"{days} days")
            line = term.lines.new(type="remainder")
            line.relativedeltas.new(days=days)
            term.save()
            self._terms[days] = term
        return self._terms[days]

    # --- what a company needs -----------------------------------------------------------------------------------------

    @staticmethod
    def _make_company() -> None:
        currency = Model.get("currency.currency")(name="US Dollar", symbol="$", code="USD", numeric_code="840")
        currency.rounding, currency.digits = Decimal("0.001"), 3
        currency.save()
        party = Model.get("party.party")(name="An ISP")
        party.save()
        wizard = Wizard("company.company.config")
        wizard.execute("company")
        wizard.form.party, wizard.form.currency = party, currency
        wizard.execute("add")
        now = config.get_config()
        now._context = Model.get("res.user").get_preferences(True, {})  # what proteus' own tests do

    def _make_chart(self) -> None:
        data = Model.get("ir.model.data").find(
            [("module", "=", "account"), ("fs_id", "=", "account_template_root_en")], limit=1
        )[0]
        wizard = Wizard("account.create_chart")
        wizard.execute("account")
        wizard.form.account_template = Model.get("account.account.template")(data.db_id)
        wizard.form.company = self._company
        wizard.execute("create_account")
        find = Model.get("account.account").find
        wizard.form.account_receivable = find([("type.receivable", "=", True)], limit=1)[0]
        wizard.form.account_payable = find([("type.payable", "=", True)], limit=1)[0]
        wizard.execute("create_properties")

    def _make_year(self, year: int) -> None:
        types = Model.get("ir.sequence.type")
        move_type = types.find([("name", "=", "Account Move")], limit=1)[0]
        moves = Model.get("ir.sequence")(name=f"moves {year}", sequence_type=move_type, company=self._company)
        moves.save()
        strict = Model.get("ir.sequence.strict")(
            name=f"invoices {year}",
            sequence_type=types.find([("name", "=", "Invoice")], limit=1)[0],
            company=self._company,
        )
        strict.save()
        fiscal = Model.get("account.fiscalyear")(name=str(year), company=self._company, post_move_sequence=moves)
        fiscal.start_date, fiscal.end_date = dt.date(year, 1, 1), dt.date(year, 12, 31)
        sequences = fiscal.invoice_sequences[0]
        for kind in ("out_invoice", "in_invoice", "out_credit_note", "in_credit_note"):
            setattr(sequences, f"{kind}_sequence", strict)
        fiscal.save()
        fiscal.click("create_period")

    def _make_method(self) -> Any:
        methods = Model.get("account.invoice.payment.method")
        if found := methods.find([("name", "=", "Cash")]):
            return found[0]
        method = methods(name="Cash", journal=self._cash_journal, credit_account=self._cash, debit_account=self._cash)
        method.save()
        return method


if __name__ == "__main__":
    main()
