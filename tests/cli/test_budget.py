"""test_budget.py - volley ab --budget: it waits, and measures nothing that others could disturb"""

import sys
import unittest

from volley_cli import VolleyTest


class Budget(VolleyTest):
    def test_it_ends_it_before_its_blocks_are_used_up(self):
        # No smaller budget is accepted; most of it is spent asleep, and ten messages in a run say too little to decide.
        done = self.volley('ab', '-c', '4', '--warmup', '20ms', '--duration', '100ms', 'c_epoll', 'c_epoll', '--rate',
                           '100', '--runs', '10000', '--budget', '14s', '--by', 'cpu', '--json', self.json)
        _, runs, end = self.read()
        self.assertEqual(end['status'], 'complete')
        self.assertLess(max(run['run'] for run in runs), 1000)
        if 'is INCONCLUSIVE' not in done.out and 'no verdict' not in done.out:
            self.skipTest('a verdict came before the budget was used up')


if __name__ == '__main__':
    sys.exit(unittest.main())
