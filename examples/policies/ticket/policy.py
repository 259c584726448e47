"""Connections need a change ticket, and end with it.

The identity provider writes the claims `ticket` and `ticket-until` (Unix seconds); the ticket is in every audit record.
"""

import re

from portreeve import Request, Verdict, allow, deny, facts

NAME = "ticket"
VERSION = "0.1.0"
SUMMARY = "connections need a change ticket, and end with it"

TICKET = re.compile(r"(CHG|INC)-[0-9]{4,}")


def decide(request: Request) -> Verdict:
    claims = facts(request.principal.claims)
    ticket = claims.get("ticket")
    if not isinstance(ticket, str) or not TICKET.fullmatch(ticket):
        return deny("no-ticket", f"the claim ticket is {ticket!r}", "this gateway needs a change ticket: ask the service desk")
    left = claims.get("ticket-until", 0) - request.now // 1000
    if left <= 0:
        return deny("ticket-over", f"{ticket} is over", f"your ticket {ticket} has ended")
    return allow(max_seconds=left, tags={"ticket": ticket})
