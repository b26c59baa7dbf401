#!/usr/bin/python3
"""tap_unittest.py - runs one file of Python unit tests: its cases as TAP on stdout, details on stderr"""

import importlib.util
import os
import sys
import unittest


class TapResult(unittest.TestResult):
    """Prints one TAP line for each case."""

    def __init__(self, out):
        super().__init__()
        self.out = out
        self.count = 0

    def line(self, good, test, directive=''):
        self.count += 1
        # A '#' in a name would start a directive.
        name = str(test.id()).replace('__volley_test__.', '').replace('#', '')
        print(f'{"ok" if good else "not ok"} {self.count} - {name}{directive}', file=self.out,
              flush=True)

    def bad(self, test, error):
        self.line(False, test)
        print(self._exc_info_to_string(error, test), file=sys.stderr, flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line(True, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.bad(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.bad(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.bad(subtest, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line(True, test, f' # SKIP {reason}'.replace('\n', ' '))

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.line(True, test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.line(False, test)


def main(path):
    # What the tests and their children print on stdout must not be taken for TAP.
    out = os.fdopen(os.dup(1), 'w', encoding='utf-8')
    os.dup2(2, 1)
    print('TAP version 13', file=out, flush=True)
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    result = TapResult(out)
    try:
        spec = importlib.util.spec_from_file_location('__volley_test__', path)
        module = importlib.util.module_from_spec(spec)
        sys.modules['__volley_test__'] = module
        spec.loader.exec_module(module)
    except unittest.SkipTest as skip:
        print(f'1..0 # SKIP {skip}', file=out, flush=True)
        return 0
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    if result.count == 0:
        result.count = 1
        print('not ok 1 - the file has no cases', file=out)
    print(f'1..{result.count}', file=out, flush=True)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
