#!/usr/bin/env python3
# keepup_plot.py - draws a result file of volley keepup: lag against offered rate, the knee marked
"""Usage: keepup_plot.py RESULT.jsonl PICTURE.png|svg. Needs matplotlib; no display."""
import json
import sys

try:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker
except ImportError:
    sys.exit("volley keepup: --save-plot: there is no matplotlib; apt install python3-matplotlib")

PERCENTILES = (("p999", "p99.9", "--", "#9ecae1"), ("p99", "p99", "-", "#08519c"), ("p50", "p50", ":", "#08519c"))
KNEE = "#cb181d"
COLUMNS = 3


def read(path):
    """Header, trials by consumer, answers by consumer."""
    header, trials, answers = {}, {}, {}
    with open(path, encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            if line["type"] == "header":
                header = line
            elif line["type"] == "answer":
                answers[line["variant"]] = line
            elif line["type"] == "run" and line["keepup"]["trial"] in ("search", "confirm"):
                trials.setdefault(line["variant"], []).append(line)
    return header, trials, answers


def fair(line):
    """Nobody else used the core, and a percentile is of most of the messages."""
    trial = line["keepup"]
    pace, full = trial.get("pace_low_op_per_ns"), trial.get("full_pace_op_per_ns")
    return not (pace and full and pace < 0.75 * full) and not (trial["excluded_share"] or 0) > 0.5


def best(lines, percentile, limit_ns):
    """(rate, lag) by rate: of several trials at one rate, the least disturbed; if all were, better those than none."""
    found = {}
    # What passed has passed, whoever disturbed it.
    shown = [line for line in lines if fair(line) or (line["keepup"]["lag_ns"]["p99"] or limit_ns + 1) <= limit_ns]
    for line in shown or lines:
        lag = line["keepup"]["lag_ns"].get(percentile)
        rate = line["offered_msg_per_s"]
        if lag:
            found[rate] = min(lag, found.get(rate, lag))
    return sorted(found.items())


def rate_text(rate):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}/s"
    return f"{rate:.0f}/s"


def draw(axes, lines, answer, limits_ns):
    """One consumer: percentiles of its lag against what was offered, and the highest rates that it keeps up with."""
    for percentile, label, style, colour in PERCENTILES:
        points = best(lines, percentile, max(limits_ns))
        axes.plot([rate for rate, _ in points], [lag / 1e3 for _, lag in points], style, color=colour, label=label,
                  linewidth=1.6 if percentile == "p99" else 1.1, marker="o" if percentile == "p99" else None,
                  markersize=2.5)
    for limit in limits_ns:
        axes.axhline(limit / 1e3, color="grey", linewidth=0.8, linestyle=(0, (1, 2)))
    for index, knee in enumerate((answer or {}).get("rates", [])):
        rate = knee["rate_msg_per_s"]
        if not rate:
            continue
        axes.plot([rate], [knee["lag_limit_ns"] / 1e3], "D", color=KNEE, markersize=5, zorder=3,
                  label=None if index else "keeps up with")
        if index == 0:
            axes.axvline(rate, color=KNEE, linewidth=0.8, alpha=0.6)
            axes.annotate(rate_text(rate), (rate, 0.93), xycoords=("data", "axes fraction"), xytext=(-4, 0),
                          textcoords="offset points", ha="right", va="center", fontsize=9, color=KNEE)
    axes.grid(True, which="major", linewidth=0.3)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    header, trials, answers = read(sys.argv[1])
    if not trials:
        sys.exit(f"volley keepup: --save-plot: there is no trial in {sys.argv[1]}")
    matplotlib.rcParams["svg.hashsalt"] = "volley"
    matplotlib.rcParams["svg.fonttype"] = "none"
    columns = min(COLUMNS, len(trials))
    rows = -(-len(trials) // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(max(6, 3.6 * columns), 1.2 + 2.5 * rows), squeeze=False,
                                   sharex=True, sharey=True)
    settings = header["keepup"]
    panels = list(grid.flat)
    for axes, (name, lines) in zip(panels, trials.items()):
        draw(axes, lines, answers.get(name), settings["lag_limits_ns"])
        axes.set_title(name, fontsize=10)
    for axes in panels[len(trials):]:
        axes.set_visible(False)
    for index, axes in enumerate(panels[:len(trials)]):
        if index % columns == 0:
            axes.set_ylabel("lag, microseconds")
        if index + columns >= len(trials):
            axes.set_xlabel("offered, messages/s")
            axes.tick_params(labelbottom=True)
    panels[0].set_xscale("log")
    panels[0].set_yscale("log")
    low, high = panels[0].get_xlim()
    low /= 1.4  # a rate stands left of its line: room for the lowest
    panels[0].set_xlim(low, high)
    panels[0].xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    panels[0].xaxis.set_minor_formatter(ticker.NullFormatter())
    panels[0].xaxis.set_major_formatter(lambda rate, _: rate_text(rate).removesuffix("/s"))
    panels[0].yaxis.set_major_formatter(lambda lag, _: f"{lag:g}")
    # of all panels: a search that was interrupted has no answer to mark
    named = {label: word for axes in panels[:len(trials)] for word, label in zip(*axes.get_legend_handles_labels())}
    words, labels = list(named.values()), list(named)
    # beside the title, where there is room for both
    beside = columns > 1
    figure.legend(words, labels, fontsize=9, loc="upper right" if beside else "lower right", ncols=len(labels))
    figure.suptitle(f"source {settings['source']}, work {settings['work']}, {header['plan']['connections']} connections",
                    fontsize=10, x=0.01, ha="left")
    figure.tight_layout(rect=(0, 0 if beside else 0.08, 1, 0.99))
    figure.savefig(sys.argv[2], dpi=100, metadata={"Date": None} if sys.argv[2].endswith(".svg") else None)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"volley keepup: --save-plot: {error!r}")
