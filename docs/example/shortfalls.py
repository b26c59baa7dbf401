# shortfalls.py - consumers that fall short, one way each: see docs/keepup.md
"""For volley keepup --consumer shortfalls:NAME, in this folder."""
import gc

alive = [[number] for number in range(2_000_000)]  # what a program of some size has in memory
kept = []


class Leaking:
    """Forgets nothing."""

    def data_received(self, data):
        kept.append(data)
        return data


class Helping:
    """Helps the collector now and then, with all that lives to be walked each time."""
    seen = 0

    def data_received(self, data):
        Helping.seen += 1
        if Helping.seen % 20_000 == 0:
            gc.collect()
        return data
