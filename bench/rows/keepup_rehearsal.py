# keepup_rehearsal.py - a delay per message that costs what it says, calibrated where it is paid
"""Part of keepup.py.

Called in a loop of its own a delay costs less than in a consumer: there it is looked up and called anew, the clock it
waits for is met at any moment of a look and not at the same one, and the code around it comes back to a processor that
has waited meanwhile. So the consumer itself is run on messages that never end, in slices of a few milliseconds with the
delay and without, and the delay is set so that a message takes so much longer. What it takes without is told too: from
both follows at what rate the consumer has to fall behind. While somebody else uses the processor's core all that takes
twice as long; a delay that was set then would be too short afterwards.
"""
import itertools
import os
import shutil
import statistics
import time

import keepup_styles

SLICE_NS = 3_000_000  # shorter than what others leave alone
LONG_NS = 50_000      # a delay beyond which the code around it is no hundredth
SETTLING = (4, 4, 4, 4, 4)  # rounds of so many comparisons; after each the delay is set anew
JUDGING = 10          # comparisons in the end
SLOWED = 1.12         # times as long as at the core's full pace: somebody else uses it
PATIENCE_NS = 3_000_000_000
LATE_COMPARISONS = 3  # then, of any pace: one alone may be anything
LATE_TRIES = 10       # for these
RATE = 50_000_000     # more than any consumer takes
BATCH_NS = 2_000_000  # what a batch may take: a slice is not shorter
RING = 8192           # it lies in the caches, as do the few chunks of a consumer that keeps up

clock = time.perf_counter_ns


def waiting(wanted_ns):
    """A function that waits, and one that tells by how much longer it is to wait from now on."""
    target = wanted_ns

    def delay():
        end = clock() + target
        while clock() < end:
            pass

    def set_longer(by_ns):
        nonlocal target
        target = max(0, round(target + by_ns))

    return delay, set_longer


class Rehearsal:
    """`feed()` hands some messages to `work`; with a delay and without."""

    def __init__(self, work, feed, delay, best_ns):
        self.work, self.feed, self.delay = work, feed, delay
        self.best_ns = best_ns  # what a message takes at the core's full pace, as far as it is known
        self.until = clock() + PATIENCE_NS

    def message_ns(self, delay):
        """What a message takes; None if others had the CPU meanwhile."""
        work = self.work
        work.delay = delay
        count, ran, begin = work.count, time.thread_time_ns(), clock()
        while True:
            self.feed()
            took = clock() - begin
            if took >= SLICE_NS and (work.count > count or took > 100 * SLICE_NS):
                break
        ran = time.thread_time_ns() - ran
        return took / (work.count - count) if ran > 0.98 * took and work.count > count else None

    def compare(self):
        """(ns without the delay, ns more with it): without, with, with, without, so that a drift cancels out."""
        without, slowed, again, after = (self.message_ns(delay) for delay in (None, self.delay, self.delay, None))
        if None in (without, slowed, again, after):
            return None
        self.best_ns = min(self.best_ns, without, after)
        return (without + after) / 2, (slowed + again - without - after) / 2

    def measure(self, comparisons):
        """The medians of several at the core's full pace; if there is no patience left for that, of any; or None."""
        found = []
        for tries in itertools.count(1):
            pair = self.compare()
            found += [pair] if pair else []
            fair = [pair for pair in found if pair[0] <= SLOWED * self.best_ns]
            late = clock() > self.until and (len(found) >= LATE_COMPARISONS or tries >= LATE_TRIES)
            if len(fair) >= comparisons or late:
                chosen = fair if len(fair) >= LATE_COMPARISONS else found
                return tuple(statistics.median(column) for column in zip(*chosen)) if len(chosen) >= LATE_COMPARISONS else None


def calibrate(rehearsal, set_longer, wanted_ns):
    """(ns that a message takes, ns more with the delay), None where others had the CPU all the time in the end."""
    for comparisons in SETTLING:
        found = rehearsal.measure(comparisons)
        if found:
            set_longer(wanted_ns - found[1])
    return rehearsal.measure(JUDGING)  # what was found before was of another delay


def endless(source, own, wanted_ns):
    """The same source, but endless and with counters that nobody reads, in the file `own`."""
    values = dict(part.split("=", 1) for part in source.split(","))
    shutil.copyfile(values["meter"], own)
    batch = max(1, min(int(values["batch"]), BATCH_NS // wanted_ns))
    values.update(meter=own, held="0", batch=str(batch), ring=str(RING), steps=f"{RATE}x600000")
    values["from"], values["until"] = "0", "600000"
    return ",".join(f"{name}={value}" for name, value in values.items())


def on_engine(given, options, wanted_ns):
    """In the engine that the consumer will have, from a generator that never waits."""
    import volley

    delay, set_longer = waiting(wanted_ns)
    work = keepup_styles.WORKS[given.work](given.size, None)
    # without a name in any folder: whatever ends this process, nothing stays behind
    with open(os.memfd_create("volley-rehearsal"), "wb") as counters:
        meter = f"/proc/self/fd/{counters.fileno()}"
        source = endless(given.nic.removeprefix("source:"), meter, wanted_ns)
        with volley.Engine(**{**options, "nic": "source:" + source, "mode": "inline", "meter": meter}) as engine:
            keepup_styles.STYLES[given.style](engine, (given.host, given.port), given.size, work)
            found = calibrate(Rehearsal(work, lambda: engine.poll(0), delay, given.unslowed_ns), set_longer, wanted_ns)
    return delay, found


def on_calls(given, wanted_ns):
    """In calls of the consumer's own function: where messages come from elsewhere."""
    delay, set_longer = waiting(wanted_ns)
    work = keepup_styles.WORKS[given.work](given.size, None)
    message = bytes(max(given.size, 16))

    def feed():
        for _ in range(64):
            work.take(message)

    return delay, calibrate(Rehearsal(work, feed, delay, float("inf")), set_longer, wanted_ns)


def calibrated_delay(given, options):
    """A function that makes a message take given.slow_ns longer, and what is known of it, for the report."""
    if given.slow_ns > LONG_NS:
        return waiting(given.slow_ns)[0], {"slowed_by_ns": given.slow_ns}
    if given.nic.startswith("source:") and given.style in keepup_styles.STYLES:
        delay, found = on_engine(given, options, given.slow_ns)
        unslowed = found and found[0]
    else:
        delay, found = on_calls(given, given.slow_ns)
        unslowed = None  # a message is more than a call
    return delay, {"slowed_by_ns": found and found[1], "unslowed_ns": unslowed}
