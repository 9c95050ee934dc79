"""What nothing breaks: counts of interrupts, kills, damaged files, odd states and silent failures.

``python -m tests.benchmarks.reliability`` prints one row for each kind of attack, with how often it
was tried and what became of it; "wrong", "other" and "silent" must be 0. KeyboardInterrupts are
raised before every line of the library that a call runs, and before those that switch torch's
modes; real signals come at random moments, and the longest wait after one is given in seconds; fits
are killed by signal 9 and begun again; one bit of a stored model is flipped; models are fitted and
asked under every state of torch that a caller may have set. Log densities are compared with those
in extended precision. ``--quick`` tries few of each.
"""

import warnings
from collections import Counter

import numpy as np

from tests import test_ambient_state as ambient_state
from tests.benchmarks import reliability_interrupts as interrupts
from tests.benchmarks.records import argument_parser, choose, run, table
from tests.benchmarks.reliability_accuracy import errors
from tests.benchmarks.reliability_diagnostics import count_told
from tests.benchmarks.reliability_persistence import FORMS, flips
from tests.interruptions import ambient

ATTACKS = ("lines", "signals", "kills", "flips", "states", "diagnostics", "accuracy")
# How many in full and with --quick; None is every line.
N_PLACES, N_SIGNALS, N_KILLS, N_FLIPS = (None, 10), (60, 3), (20, 2), (300, 20)
FAULTS = "wrong", "other", "silent"


def cases(options):
    """One case a row of the table."""
    chosen = choose(options.models, ATTACKS, ATTACKS, options.quick)
    (seed, *_) = options.seeds or (0,)
    parts = {
        "lines": interrupts.SCENARIOS,
        "signals": ("fit", "sample_conditional"),
        "flips": FORMS,
    }
    for attack in chosen:
        for part in parts.get(attack, ("",)):
            yield {"attack": attack, "on": part, "quick": options.quick, "seed": seed}


def measure(case):
    """The counts of outcomes, by name."""
    quick, seed, on = case["quick"], case["seed"], case["on"]
    if case["attack"] == "lines":
        found, wrong = interrupts.lines(on, N_PLACES[quick], seed)
        return {"outcomes": dict(found), "faults": wrong}
    if case["attack"] == "signals":
        attack = interrupts.fit_signals if on == "fit" else interrupts.completion_signals
        found, longest = attack(N_SIGNALS[quick], seed)
        return {"outcomes": dict(found), "longest": longest}
    if case["attack"] == "kills":
        return {"outcomes": dict(interrupts.kills(N_KILLS[quick], seed))}
    if case["attack"] == "flips":
        return {"outcomes": flips(N_FLIPS[quick], seed, [on])[on]}
    if case["attack"] == "accuracy":
        return {"outcomes": {}, "errors": errors()}
    return {"outcomes": count_told() if case["attack"] == "diagnostics" else states(quick)}


def states(quick):
    """How many fits under a state answer the "same" bits as outside of any, and how many do not."""
    X = ambient_state.table()
    names = ("network",) if quick else ambient_state.MODELS
    found = Counter(same=0, wrong=0)
    for name in names:
        right = _answers(name, X)
        for state in (*ambient_state.STATES.values(), ambient_state.everything):
            with state():
                before = ambient()
                answers = _answers(name, X)
                kept = ambient() == before
            found["same" if kept and np.array_equal(answers, right) else "wrong"] += 1
    return dict(found)


def _answers(name, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ambient_state.all_answers(ambient_state.MODELS[name].fit(X), X)


def report(records):
    """The counts as a table, and whatever went wrong at which line."""
    lines = []
    for r in (r for r in records if "errors" not in r):
        outcomes, longest = r["outcomes"], r.get("longest")
        wait = "" if longest is None else f"longest wait {longest:.2f} s"
        shown = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
        faults = sum(outcomes.get(name, 0) for name in FAULTS)
        lines.append([r["attack"], r["on"], shown, str(faults), wait])
    exact = [[name, f"{e:.1g}"] for r in records for name, e in r.get("errors", {}).items()]
    faults = [f"{r['on']}: {fault}" for r in records for fault in r.get("faults", [])]
    parts = [table(["attack", "on", "outcomes", "faults", ""], lines)]
    if exact:
        parts.append(table(["rows of", "largest error of a log density, nats"], exact))
    return "\n\n".join([*parts, *faults])


def main(arguments=None):
    """Print the table."""
    options = argument_parser("reliability", __doc__, ATTACKS, (0,)).parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
