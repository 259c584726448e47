"""The exports of the component: they call the functions of policy.py.

An exception in `decide` is a line in the log and a deny, one in `configure` a problem of the settings. Uncaught it would end
the instance without a word. So is what is no verdict: nothing at all, a class, a record with a part of another type.
"""

import json

import portreeve_surroundings as surroundings

import policy
from componentize_py_types import Err
from portreeve import deny
from portreeve_verdict import fault_of
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
            except BaseException as error:
                problems = [Problem("", _words(error))]
        if problems:
            raise Err(problems)


class Decision:
    def decide(self, request):
        surroundings.begin(request.now)
        try:
            verdict = policy.decide(request)
        except BaseException as error:
            return _refused("policy-error", f"the policy raised {_words(error)}")
        fault = fault_of(verdict)
        return _refused("no-verdict", f"decide returned {fault}") if fault else verdict


class Observer:
    def on_ended(self, event):
        try:
            policy.on_ended(event)
        except BaseException as error:
            log.write(log.Level.ERROR, f"the policy raised {_words(error)}")


def _refused(code, reason):
    log.write(log.Level.ERROR, reason)
    return deny(code, reason)


def _words(error):
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and "portreeve" not in trace.tb_next.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    line = f" in line {trace.tb_lineno} of {trace.tb_frame.f_code.co_name}" if trace is not None else ""
    return f"{type(error).__name__}: {error}{line}"
