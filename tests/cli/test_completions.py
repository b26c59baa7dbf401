"""test_completions.py - the shells complete what the command itself says it knows"""

import os
import re
import shutil
import subprocess
import sys
import unittest

import volley_cli
from volley_cli import VolleyTest

FOLDER = os.path.join(volley_cli.TOP, 'bench', 'completions')
COMMANDS = ('pingpong', 'ab', 'keepup', 'compare', 'serve', 'load', 'list', 'doctor')

ZSH = r'''
typeset -a words; words=("$@[2,-1]"); CURRENT=$#words
compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -rl -- "$@" }
_files() { print FILES }
_command_names() { print COMMANDS }
source $1
'''


class Completions:
    """The same questions for every shell."""

    shell = ''

    def setUp(self):
        super().setUp()
        if not shutil.which(self.shell):
            self.skipTest(f'there is no {self.shell}')

    def ask(self, *words):
        """What is offered for the last of `words`."""
        raise NotImplementedError

    def options(self, command):
        found = re.findall(r'^ +(?:-., +)?(--[a-z-]+)', self.expect(0, command, '--help').out, re.MULTILINE)
        self.assertGreater(len(found), 1)
        return set(found)

    def test_commands_are_those_of_the_help(self):
        self.assertEqual(self.ask(''), {*COMMANDS, '--help', '--version'})

    def test_options_are_those_of_the_option_tables(self):
        for command in COMMANDS:
            self.assertEqual(self.ask(command, '--'), self.options(command), command)

    def test_rows_are_those_that_can_run_here(self):
        wanted = {line.split()[0] for line in self.expect(0, 'list').out.splitlines()
                  if line.split()[1] == 'available'}
        for command in ('pingpong', 'ab', 'serve'):
            self.assertEqual(self.ask(command, ''), wanted)

    def test_values_with_names_are_offered(self):
        self.assertEqual(self.ask('pingpong', '--format', ''), {'text', 'markdown', 'csv'})
        self.assertEqual(self.ask('pingpong', '--preset', ''), {'smoke', 'standard', 'publish'})
        self.assertEqual(self.ask('ab', '--by', ''), {'auto', 'cpu', 'rate'})
        self.assertEqual(self.ask('load', '--arrivals', ''), {'poisson', 'constant'})
        # As the command itself takes them.
        for option, values in (('--format', ('text', 'markdown', 'csv')),
                               ('--preset', ('smoke', 'standard', 'publish'))):
            for value in values:
                self.assertIn('no variant', self.complaint(2, 'pingpong', option, value, 'qqqqqq'))


class Bash(Completions, VolleyTest):
    """volley.bash"""

    shell = 'bash'

    def ask(self, *words):
        script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _volley; ' \
                 'printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(['bash', '-c', script, 'bash', os.path.join(FOLDER, 'volley.bash'),
                               volley_cli.VOLLEY, *words], check=True, capture_output=True, text=True,
                              cwd=self.folder)
        self.assertEqual(done.stderr, '')
        return set(done.stdout.split())

    def test_what_was_typed_narrows_it(self):
        self.assertEqual(self.ask('pingpong', '--conn'), {'--connections', '--connect-timeout'})
        self.assertEqual(self.ask('pin'), {'pingpong'})
        self.assertEqual(self.ask('pingpong', '--format', '=', 'm'), {'markdown'})
        self.assertEqual(self.ask('pingpong', '--format', '='), {'text', 'markdown', 'csv'})

    def test_files_are_offered_where_files_are_meant(self):
        with open(os.path.join(self.folder, 'some.jsonl'), 'w', encoding='utf-8'):
            pass
        for words in (('pingpong', '--json', 'so'), ('compare', 'so')):
            self.assertEqual(self.ask(*words), {'some.jsonl'})


class Zsh(Completions, VolleyTest):
    """_volley, with the shell's own builtins replaced by ones that print."""

    shell = 'zsh'

    def ask(self, *words):
        done = subprocess.run(['zsh', '-fc', ZSH, 'zsh', os.path.join(FOLDER, '_volley'),
                               volley_cli.VOLLEY, *words], check=True, capture_output=True, text=True)
        self.assertEqual(done.stderr, '')
        return set(done.stdout.split())

    def test_files_are_offered_where_files_are_meant(self):
        for words in (('pingpong', '--json', 'so'), ('compare', 'so')):
            self.assertEqual(self.ask(*words), {'FILES'})


if __name__ == '__main__':
    sys.exit(unittest.main())
