#!/usr/bin/python3
"""build.py - configures and builds one kind of build: build.py release|debug|tsan [ninja target...]"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Debian's own: a meson or python from elsewhere in PATH may see other libraries.
MESON = '/usr/bin/meson'

KINDS = {
    'release': ('build', []),
    'debug': ('build-debug', ['--buildtype=debug', '-Doptimization=1',
                              '-Db_sanitize=address,undefined', '-Db_lundef=false']),
    'tsan': ('build-tsan', ['--buildtype=debug', '-Doptimization=1',
                            '-Db_sanitize=thread', '-Db_lundef=false']),
}


class StepFailed(Exception):
    """A configure or build command failed; its output was printed."""


def run_step(label, command, cwd=TOP):
    """Runs a command with its output kept back: one line at the start, one for every ten seconds."""
    print(f'{label} ...', flush=True)
    began = time.monotonic()
    with tempfile.TemporaryFile('w+', errors='replace') as log:
        child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=subprocess.STDOUT)
        try:
            while True:
                try:
                    code = child.wait(timeout=10)
                    break
                except subprocess.TimeoutExpired:
                    print(f'{label} ... {time.monotonic() - began:.0f} s', flush=True)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        log.seek(0)
        output = log.read()
    if code != 0:
        print('\n'.join(output.splitlines()[-60:]))
        raise StepFailed(f'{label}: failed with exit code {code}')
    return output


def configure(kind):
    """Sets the build folder up, or again when the options or the compiler changed."""
    folder, options = KINDS[kind]
    werror = 'true' if os.environ.get('CI') == 'true' else 'false'
    options = options + [f'-Dwerror={werror}']
    compiler = os.environ.get('CC', '')
    path = os.path.join(TOP, folder)
    stamp = os.path.join(path, '.volley-setup')
    wanted = '\n'.join([TOP, compiler] + options) + '\n'
    had = ''
    if os.path.exists(stamp) and os.path.exists(os.path.join(path, 'build.ninja')):
        with open(stamp, encoding='utf-8') as file:
            had = file.read()
    if had == wanted:
        return path
    command = [MESON, 'setup'] + options + [path, TOP]
    if had.splitlines()[:2] == wanted.splitlines()[:2]:
        command.insert(2, '--reconfigure')
    elif os.path.exists(path):
        # Another compiler or a moved tree: meson cannot change either in place.
        shutil.rmtree(path)
    run_step(f'configuring {folder}', command)
    with open(stamp, 'w', encoding='utf-8') as file:
        file.write(wanted)
    return path


def build(kind, targets=()):
    """Configures and builds; returns the build folder. Raises StepFailed."""
    path = configure(kind)
    run_step(f'building {KINDS[kind][0]}', ['/usr/bin/ninja', '-C', path, *targets])
    return path


def main(args):
    if not args or args[0] not in KINDS:
        print(__doc__, file=sys.stderr)
        return 2
    if not os.path.exists(MESON):
        print(f'build: {MESON} is missing: make deps', file=sys.stderr)
        return 1
    try:
        build(args[0], args[1:])
    except StepFailed as failure:
        print(f'build: {failure}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
