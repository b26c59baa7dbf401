"""test_budget.py - volley ab --budget: it waits, and measures nothing that others could disturb"""

import sys
import unittest

from volley_cli import VolleyTest


class Budget(VolleyTest):
    def test_it_ends_it_before_its_blocks_are_used_up(self):
        # No smaller one is accepted; at so low a rate most of it is spent asleep.
        self.volley('ab', '-c', '4', '--warmup', '20ms', '--duration', '100ms', 'c_epoll', 'c_epoll', '--rate', '1k',
                    '--runs', '10000', '--budget', '14s', '--by', 'rate', '--json', self.json)
        _, runs, end = self.read()
        self.assertEqual(end['status'], 'complete')
        self.assertLess(max(run['run'] for run in runs), 1000)


if __name__ == '__main__':
    sys.exit(unittest.main())
