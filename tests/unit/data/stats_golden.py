#!/usr/bin/python3
"""stats_golden.py - golden values of the bench's statistics, from scipy: stats_golden.py > stats_golden.json

Needs python3-scipy (made with 1.10.1), which neither the build nor the tests need: the JSON is kept.
"""

import json
import math
import sys

import numpy
from scipy import stats

ALPHAS = (0.05, 0.0125, 0.01)
ZONE = math.log(1.02)


def samples():
    """Rates and costs as runs give them: some quiet, some wild, some with an outlier."""
    random = numpy.random.default_rng(20240607)
    for count, level, spread in ((5, 1.0, 0.3), (5, 812345.6, 0.01), (6, 2.345, 0.002),
                                 (10, 104000.0, 0.02), (15, 9.9e6, 0.15), (20, 1.7, 0.05),
                                 (33, 55.5, 0.01), (57, 1e-3, 1.0)):
        base = level * numpy.exp(random.normal(0, spread, count))
        tested = base * numpy.exp(random.normal(random.choice([0, 0.02, -0.05, 0.1]), spread, count))
        if count == 20:
            base[7] *= 3
        yield base, tested


def interval(mean, error, freedom, alpha):
    lower, upper = stats.t.interval(1 - alpha, freedom, loc=mean, scale=error)
    return {'alpha': alpha, 'mean': math.exp(mean), 'lower': math.exp(lower),
            'upper': math.exp(upper)}


def decides(mean, error, freedom):
    """Smallest alpha at which the interval lies wholly within or beyond +-2%."""
    room = abs(abs(mean) - ZONE) / error
    return min(1.0, 2 * stats.t.sf(room, freedom))


def blocks_needed(count, mean, error, alpha):
    """By counting up, of pairs."""
    deviation = error * math.sqrt(count)
    for blocks in range(5, 1000000):
        half = stats.t.ppf(1 - alpha / 2, blocks - 1) * deviation / math.sqrt(blocks)
        if half < abs(abs(mean) - ZONE):
            return blocks
    return None


def one_sample(logs):
    result = stats.ttest_1samp(logs, 0)
    within = result.confidence_interval(0.95)
    mean, error, freedom = logs.mean(), stats.sem(logs), len(logs) - 1
    assert math.isclose(math.exp(within.low), interval(mean, error, freedom, 0.05)['lower'])
    assert math.isclose(math.exp(mean), stats.gmean(numpy.exp(logs)))
    t = stats.t.ppf(0.975, freedom)
    return {
        'count': len(logs),
        'deviation': logs.std(ddof=1),
        'intervals': [interval(mean, error, freedom, alpha) for alpha in ALPHAS],
        'spread': [math.exp(mean - 1.96 * logs.std(ddof=1)),
                   math.exp(mean + 1.96 * logs.std(ddof=1))],
        'decides': decides(mean, error, freedom),
        'runs_needed': max(33, math.ceil((t * logs.std(ddof=1) / ZONE) ** 2)),
    }


def paired(base, tested):
    ratios = numpy.log(tested) - numpy.log(base)
    within = stats.ttest_rel(numpy.log(tested), numpy.log(base)).confidence_interval(0.95)
    found = one_sample(ratios)
    assert math.isclose(math.exp(within.high), found['intervals'][0]['upper'])
    found['blocks_needed'] = blocks_needed(len(ratios), ratios.mean(), stats.sem(ratios), 0.0125)
    return found


def unpaired(base, tested):
    """Welch's test, of samples of different sizes."""
    x, y = numpy.log(tested), numpy.log(base)
    vx, vy = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    freedom = (vx + vy) ** 2 / (vx ** 2 / (len(x) - 1) + vy ** 2 / (len(y) - 1))
    mean, error = x.mean() - y.mean(), math.sqrt(vx + vy)
    p = 2 * stats.t.sf(abs(mean / error), freedom)
    assert math.isclose(p, stats.ttest_ind(x, y, equal_var=False).pvalue, rel_tol=1e-9)
    return {'freedom': freedom, 'error': error, 'decides': decides(mean, error, freedom),
            'intervals': [interval(mean, error, freedom, alpha) for alpha in ALPHAS]}


def outlying(values):
    logs = numpy.log(values)
    mad = stats.median_abs_deviation(logs, scale='normal')
    return list(abs(logs - numpy.median(logs)) / mad)


def slope(values):
    """Of a line over 0, 1, 2, ..."""
    found = stats.theilslopes(values)
    return {'values': list(values), 'slope': found.slope, 'intercept': found.intercept,
            'lower': found.low_slope, 'upper': found.high_slope}


def slopes():
    random = numpy.random.default_rng(7)
    for count in (3, 4, 5, 10, 20, 35):
        yield slope(1000 + 3.5 * numpy.arange(count) + random.normal(0, 20, count))
        yield slope(random.integers(0, 5, count).astype(float))
    yield slope([5.0, 5.0, 5.0, 5.0])


def holm(p):
    """Holm (1979), from its definition: the largest of (m - j) * p[j] over all p[j] <= p[i]."""
    order = sorted(p)
    return [min(1.0, max((len(p) - j) * q for j, q in enumerate(order) if q <= one)) for one in p]


def main():
    cases = []
    for base, tested in samples():
        shorter = tested[:-1] if len(tested) > 5 else tested
        cases.append({'base': list(base), 'tested': list(tested), 'mean': one_sample(numpy.log(base)),
                      'paired': paired(base, tested), 'unpaired_tested_count': len(shorter),
                      'unpaired': unpaired(base, shorter), 'outlying': outlying(base)})
    families = [[0.01, 0.04, 0.03, 0.005], [0.5], [0.02, 0.02, 0.9], [1e-9, 1.0, 0.2, 0.2, 0.049]]
    json.dump({'cases': cases, 'slopes': list(slopes()),
               'holm': [{'p': p, 'adjusted': holm(p)} for p in families]}, sys.stdout, indent=1)
    print()


if __name__ == '__main__':
    main()
