"""test_packaging.py - pip installs the module into a fresh environment, without a network"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from peers import SANITIZED, TOP

INSTALL_PATIENCE_S = 900


def missing():
    """Why it cannot be tried, or None."""
    if SANITIZED:
        return 'the module is packaged from the release build'
    if importlib.util.find_spec('mesonpy') is None:
        return 'there is no meson-python: apt install python3-mesonpy'
    if importlib.util.find_spec('ensurepip') is None:
        return 'there is no venv: apt install python3-venv'
    return None


@unittest.skipIf(missing(), missing())
class Installed(unittest.TestCase):
    """One environment for all cases: building takes a while."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.source = os.path.join(cls.folder.name, 'source')
        shutil.copytree(TOP, cls.source, ignore=cls.ignored)
        cls.env = {name: value for name, value in os.environ.items()
                   if name != 'PYTHONPATH' and not name.startswith(('PIP_', 'CFLAGS', 'LDFLAGS', 'LD_'))}
        # Debian's meson, whatever else stands in PATH; and no network, as if there were none.
        cls.env['PATH'] = '/usr/bin:/bin'
        cls.env.update(PIP_NO_INDEX='1', PIP_DISABLE_PIP_VERSION_CHECK='1', PIP_NO_CACHE_DIR='1', HOME=cls.folder.name)
        cls.command('/usr/bin/python3', '-m', 'venv', '--system-site-packages', 'v')
        cls.command('v/bin/pip', 'install', '--no-build-isolation', '.')

    @staticmethod
    def ignored(folder, names):
        """What is no source: build folders, git's own."""
        return [name for name in names if name in ('.git', '__pycache__') or name.startswith('.mesonpy') or
                (name.startswith('build') and os.path.samefile(folder, TOP))]

    @classmethod
    def command(cls, *words, check=True):
        done = subprocess.run(words, cwd=cls.source, env=cls.env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=INSTALL_PATIENCE_S, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f'{" ".join(words)}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}')
        return done

    def test_the_module_serves_from_the_environment(self):
        done = self.command('v/bin/python', '-I', '-c', '''
import os, socket, sys, volley
from volley import parallel
assert volley.__file__.startswith(os.path.realpath(sys.prefix)), volley.__file__
assert volley.new_event_loop and parallel.server
class Answer:
    def data_received(self, data):
        return data
with volley.Engine(conns_max=16) as engine:
    listener = engine.listen("127.0.0.1:0", Answer, style="completion")
    peer = socket.create_connection(listener.sockname)
    peer.sendall(b"from a wheel")
    peer.setblocking(False)
    got = b""
    while len(got) < 12:
        engine.poll(0.05)
        try:
            got += peer.recv(100)
        except BlockingIOError:
            pass
print(got.decode(), volley.__version__)
''')
        self.assertEqual(done.stdout.split()[:3], ['from', 'a', 'wheel'])

    def files(self):
        lines = self.command('v/bin/pip', 'show', '-f', 'volley').stdout.partition('Files:')[2].split()
        return [line for line in lines if '__pycache__' not in line]

    def test_nothing_but_the_module_is_installed(self):
        files = self.files()
        tops = {path.partition('/')[0].partition('-')[0] for path in files}
        self.assertEqual(tops, {'volley'}, files)
        for name in ('__init__.py', 'loop.py', 'parallel.py', 'py.typed', '_volley.pyi'):
            self.assertIn('volley/' + name, files)
        self.assertEqual(sum(path.endswith('.so') for path in files), 1, files)

    def test_the_extension_has_the_engine_inside_and_no_gsl(self):
        place = self.command('v/bin/python', '-I', '-c', 'import volley._volley as m; print(m.__file__)').stdout.strip()
        needed = self.command('ldd', place).stdout
        self.assertNotIn('libvolley', needed)
        self.assertNotIn('gsl', needed)

    def test_uninstalling_leaves_nothing(self):
        # The last of the cases by name: it takes the module away.
        self.command('v/bin/pip', 'uninstall', '-y', 'volley')
        done = self.command('v/bin/python', '-I', '-c', 'import volley', check=False)
        self.assertIn('ModuleNotFoundError', done.stderr)


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
