"""Gives no verdict, in many ways: by the port that is asked for."""

import datetime
import os
import sys
import time
from datetime import datetime as by_name

from portreeve import AddressRule, allow, deny, rewrite, tcp
from wit_world.imports.types import Denial, Redirect, Verdict_Allow, Verdict_AllowWith, Verdict_Deny, Verdict_Rewrite

NAME = "unset"
VERSION = "0.1.0"
SUMMARY = "gives no verdict, in many ways"


async def later():
    return allow()


def decide(request):
    match tcp(request).port:
        case 1:
            return allow()
        case 10:
            pass
        case 11:
            return None
        case 12:
            raise RuntimeError("x")
        case 13:
            try:
                raise RuntimeError("x")
            except RuntimeError:
                return
        case 14:
            sys.exit(0)
        case 15:
            os._exit(0)
        case 16:
            return Verdict_Allow
        case 17:
            return later()
        case 18:
            return allow(address_rules=[AddressRule("10.0.0.0/8", None)])
        case 19:
            return Verdict_Deny(Denial("code", None, None))
        case 20:
            return Verdict_Rewrite(Redirect(None, "nowhere", None))
        case 21:
            return Verdict_AllowWith(None)
        case 22:
            return allow(max_seconds=-1)
        case 23:
            return True
        case 24:
            return decide(request)
        case 25:
            return rewrite("a", 70000, "too far")
        case 26:
            return allow(hints={"a": 2**70})
        case 30:
            print("a line", "of words")
            return allow()
        case 31:
            return deny("time", str(int(time.time())))
        case 32:
            return deny("time", datetime.datetime.now().isoformat() + " " + by_name.now(datetime.timezone.utc).isoformat())
        case 33:
            return deny("random", os.urandom(4).hex())
        case 34:
            return deny("file", open("/etc/passwd").read())
        case 35:
            sys.stderr.write("an error\n")
            return allow()
