"""The exports of the component: they call the functions of policy.py.

An exception in `decide` is a line in the log and a deny, one in `configure` a problem of the settings. Uncaught it would end
the instance without a word.
"""

import json

import policy
from componentize_py_types import Err
from portreeve import deny
from wit_world.imports import log
from wit_world.imports.types import Description, Problem


class Lifecycle:
    def describe(self):
        schema = getattr(policy, "SETTINGS_SCHEMA", None)
        return Description(policy.NAME, policy.VERSION, policy.SUMMARY, schema and json.dumps(schema))

    def configure(self, settings):
        configure = getattr(policy, "configure", None)
        if configure is None:
            problems = [] if json.loads(settings) == {} else [Problem("", "this policy has no settings")]
        else:
            try:
                problems = configure(json.loads(settings))
            except Exception as error:
                problems = [Problem("", _words(error))]
        if problems:
            raise Err(problems)


class Decision:
    def decide(self, request):
        try:
            return policy.decide(request)
        except Exception as error:
            words = _words(error)
            log.write(log.Level.ERROR, f"the policy raised {words}")
            return deny("policy-error", f"the policy raised {words}")


class Observer:
    def on_ended(self, event):
        try:
            policy.on_ended(event)
        except Exception as error:
            log.write(log.Level.ERROR, f"the policy raised {_words(error)}")


def _words(error):
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = f" in line {trace.tb_lineno} of {trace.tb_frame.f_code.co_name}" if trace is not None else ""
    return f"{type(error).__name__}: {error}{line}"
