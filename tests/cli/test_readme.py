"""test_readme.py - the pages for newcomers: the program builds and runs, what is named is there"""

import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from free_port import free_port

TOP = os.environ['VOLLEY_TOP']
BUILD = os.environ['VOLLEY_BUILD']
PATIENCE_S = 60
PAGES = ('README.md', 'docs/architecture.md')
FOLDERS = ('base', 'mempool', 'nic', 'engine')


def read(path):
    with open(os.path.join(TOP, path), encoding='utf-8') as file:
        return file.read()


class Program(unittest.TestCase):
    """The C program of the README."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.source = os.path.join(cls.folder.name, 'hello.c')
        cls.program = os.path.join(cls.folder.name, 'hello')
        (code,) = re.findall(r'^```c\n(.*?)^```$', read('README.md'), re.S | re.M)
        with open(cls.source, 'w', encoding='utf-8') as file:
            file.write(code)

    def build(self):
        """Builds it by the README's own line, with this build's compiler and sanitizers."""
        (line,) = re.findall(r'^    cc -O2 (hello\.c .*)$', read('README.md'), re.M)
        flags = ['-Wall', '-Wextra', '-Werror', '-Wno-unused-parameter']
        sanitize = os.environ.get('VOLLEY_SANITIZE', 'none')
        if sanitize != 'none':
            flags.append(f'-fsanitize={sanitize}')
        command = ' '.join([os.environ.get('VOLLEY_CC', 'cc')] + flags + [line])
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(BUILD, 'meson-uninstalled'))
        return subprocess.run(['sh', '-c', command], cwd=self.folder.name, env=env, check=False,
                              capture_output=True, text=True, timeout=PATIENCE_S)

    def test_builds_by_the_line_below_it_and_echoes(self):
        done = self.build()
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        port = free_port()
        env = dict(os.environ, LD_LIBRARY_PATH=BUILD)
        with subprocess.Popen([self.program, f'127.0.0.1:{port}'], env=env,
                              stdin=subprocess.DEVNULL) as child:
            try:
                until = time.monotonic() + PATIENCE_S
                while True:
                    try:
                        sock = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE_S)
                        break
                    except ConnectionRefusedError:
                        if child.poll() is not None or time.monotonic() > until:
                            raise
                        time.sleep(0.02)
                with sock:
                    sock.sendall(b'ping')
                    sock.shutdown(socket.SHUT_WR)
                    got = b''
                    while part := sock.recv(100):
                        got += part
                self.assertEqual(got, b'ping')
                child.send_signal(signal.SIGTERM)
                self.assertEqual(child.wait(PATIENCE_S), 0)
            finally:
                child.kill()


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r'\]\(([^)#:]+)\)', read(page)):
                path = os.path.join(TOP, os.path.dirname(page), target)
                self.assertTrue(os.path.exists(path), f'{page}: {target}')

    def test_what_is_named_as_file_and_function_is_there(self):
        """`engine/send.c:admit` in the text means that the function stands in that file."""
        named = re.findall(r'`([\w/]+\.[ch]):(\w+)`', read('docs/architecture.md'))
        self.assertGreater(len(named), 20)
        for path, function in named:
            self.assertTrue(re.search(rf'\b{function}\(', read(path)), f'{path}:{function}')

    def test_tests_that_are_named_exist(self):
        """`tests/cli/test_ab.py:test_name` in the pages means that the test stands in that file."""
        named = re.findall(r'`(tests/[\w/]+\.py):(\w+)`', read('docs/bench.md'))
        self.assertGreater(len(named), 15)
        for path, test in named:
            self.assertIn(f'def {test}(self)', read(path))

    def test_calls_that_are_named_exist(self):
        """Every vly_ name in the pages stands in a header or source."""
        text = ''
        for folder in FOLDERS + ('include/volley',):
            for where, _, names in os.walk(os.path.join(TOP, folder)):
                for name in names:
                    if name.endswith(('.c', '.h')):
                        text += read(os.path.join(os.path.relpath(where, TOP), name))
        for page in PAGES:
            for name in set(re.findall(r'\bvly_\w+|\bVLY_\w+', read(page))):
                self.assertTrue(re.search(rf'\b{name}\b', text), f'{page}: {name}')
