"""test_guest.py - what is run again in the guest after its host stood still"""

import sys
import unittest
from unittest import mock

import guest
from suites import Program

PROGRAM = Program('unit', ('build/tests/unit/test_unit', '--filter', 'a/*'))
GOOD, BAD = 'ok - a::one  (0.01s)', 'not ok - a::two  (7.00s)'


class Again(unittest.TestCase):
    def runs(self, *outputs, still_s=guest.STILL_S + 1):
        """Runs a program that reports so, one run after the other; returns the record and the words of each command."""
        records = iter([{'stdout': '\n'.join(lines), 'stderr': '', 'seconds': 1,
                         'result': 'FAIL' if any(line.startswith('not ok') for line in lines) else 'OK'}
                        for lines in outputs])
        with mock.patch.object(guest, 'run_program', side_effect=lambda *_: next(records)) as run, \
                mock.patch.object(guest, 'Stillness') as stillness, mock.patch.object(guest, 'say'):
            stillness.return_value.__enter__.return_value.longest_s = still_s
            record = guest.run_undisturbed(PROGRAM, {}, 1)
        return record, [call.args[0].command[2] for call in run.call_args_list]

    def test_cases_that_failed_are_run_again_alone(self):
        record, filters = self.runs([GOOD, BAD], ['ok - a::two  (0.02s)'])
        self.assertEqual(filters, ['a/*', '@(a/two)'])
        self.assertEqual((record['result'], record['seconds']), ('OK', 2))
        self.assertEqual(record['stdout'].splitlines(), ['TAP version 13', GOOD, 'ok - a::two  (0.02s)'])

    def test_what_failed_and_is_no_case_runs_all_again(self):
        for fault in ('1 of 3 cases never reported', 'memory leaked'):
            record, filters = self.runs([GOOD, BAD, f'not ok - {fault}'], [GOOD, 'ok - a::two  (0.02s)', f'not ok - {fault}'],
                                        [GOOD, BAD], ['ok - a::two  (0.02s)'])
            self.assertEqual(filters, ['a/*', 'a/*', 'a/*', '@(a/two)'], fault)
            self.assertEqual(record['result'], 'OK')

    def test_what_failed_each_time_stays_failed(self):
        record, filters = self.runs(*[[GOOD, BAD, 'not ok - memory leaked']] * guest.RUNS)
        self.assertEqual(filters, ['a/*'] * guest.RUNS)
        self.assertIn('not ok - memory leaked', record['stdout'].splitlines())

    def test_on_a_host_that_did_not_stand_still_nothing_is_run_again(self):
        record, filters = self.runs([GOOD, BAD], still_s=guest.STILL_S)
        self.assertEqual((record['result'], filters), ('FAIL', ['a/*']))


if __name__ == '__main__':
    sys.exit(unittest.main())
