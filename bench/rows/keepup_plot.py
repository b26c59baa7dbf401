#!/usr/bin/env python3
# keepup_plot.py - draws a result file of volley keepup: lag against offered rate, the knee marked
"""Usage: keepup_plot.py RESULT.jsonl PICTURE.png|svg. Needs matplotlib; no display."""
import json
import sys

try:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
except ImportError:
    sys.exit("volley keepup: --save-plot: there is no matplotlib; apt install python3-matplotlib")

PERCENTILES = (("p50", ":"), ("p99", "-"), ("p999", "--"))


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


def best(lines, percentile):
    """(rate, lag) by rate: of several trials at one rate, the least disturbed."""
    found = {}
    for line in lines:
        lag = line["keepup"]["lag_ns"].get(percentile)
        rate = line["offered_msg_per_s"]
        if lag:
            found[rate] = min(lag, found.get(rate, lag))
    return sorted(found.items())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    header, trials, answers = read(sys.argv[1])
    if not trials:
        sys.exit(f"volley keepup: --save-plot: there is no trial in {sys.argv[1]}")
    matplotlib.rcParams["svg.hashsalt"] = "volley"
    matplotlib.rcParams["svg.fonttype"] = "none"
    figure, axes = pyplot.subplots(figsize=(8, 5))
    colours = pyplot.get_cmap("tab10").colors
    for index, (name, lines) in enumerate(trials.items()):
        colour = colours[index % len(colours)]
        for percentile, style in PERCENTILES:
            points = best(lines, percentile)
            if points:
                axes.plot([rate for rate, _ in points], [lag / 1e3 for _, lag in points], style, color=colour,
                          linewidth=1.6 if percentile == "p99" else 0.7,
                          label=name if percentile == "p99" else None)
        knee = (answers.get(name, {}).get("rates") or [{}])[0].get("rate_msg_per_s")
        if knee:
            axes.axvline(knee, color=colour, linewidth=0.6, alpha=0.5)
            axes.plot([knee], [header["keepup"]["lag_limits_ns"][0] / 1e3], "o", color=colour, markersize=6)
    for limit in header["keepup"]["lag_limits_ns"]:
        axes.axhline(limit / 1e3, color="grey", linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("offered, messages per second")
    axes.set_ylabel("lag, microseconds")
    settings = header["keepup"]
    axes.set_title(f"{settings['source']}, {settings['work']}: p50 dotted, p99 solid, p99.9 dashed; "
                   "dots: the highest rate kept up with", fontsize=9)
    axes.grid(True, which="major", linewidth=0.3)
    axes.legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(sys.argv[2], dpi=100, metadata={"Date": None} if sys.argv[2].endswith(".svg") else None)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"volley keepup: --save-plot: {error!r}")
