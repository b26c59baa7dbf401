#!/usr/bin/python3
"""fuzz.py - builds the fuzzed programs with clang and libFuzzer, and runs them

usage: fuzz.py [--seconds N] [target ...]    N seconds each, 3600 in all by default; all targets

New inputs that reach new code stay in build-fuzz/corpus/<target>; a crash leaves its input in build-fuzz. Exits with 77
where clang or its libFuzzer is missing.
"""

import os
import re
import subprocess
import sys
import tempfile

import build

TOP = build.TOP
FOLDER = os.path.join(TOP, 'build-fuzz')
CORPUS = os.path.join(TOP, 'tests', 'fuzz', 'corpus')
DEFAULT_SECONDS = 3600
OPTIONS = ['--buildtype=debug', '-Doptimization=1', '-Db_sanitize=address,undefined', '-Db_lundef=false',
           '-Dfuzz=true', '-Dbench=disabled', '-Dpython=disabled', '-Ddpdk=disabled']


def missing():
    """Why no fuzzer can be built here, or None."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, 'a.c')
        with open(source, 'w', encoding='utf-8') as file:
            file.write('#include <stddef.h>\n#include <stdint.h>\n'
                       'int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { return n && !d; }\n')
        try:
            done = subprocess.run(['clang', '-fsanitize=fuzzer', source, '-o', source + '.out'],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        except OSError:
            return 'clang is not installed (scripts/deps.sh lint)'
        return None if done.returncode == 0 else "clang has no libFuzzer (Debian: libclang-rt-14-dev)"


def targets():
    names = [re.match(r'fuzz_(\w+)\.c$', name) for name in os.listdir(os.path.join(TOP, 'tests', 'fuzz'))]
    return sorted(match[1] for match in names if match)


def build_targets(names):
    if not os.path.exists(os.path.join(FOLDER, 'build.ninja')):
        os.environ['CC'] = 'clang'
        build.run_step('configuring build-fuzz', [build.MESON, 'setup', *OPTIONS, FOLDER, TOP])
    build.run_step('building build-fuzz', ['/usr/bin/ninja', '-C', FOLDER]
                   + [f'tests/fuzz/fuzz_{name}' for name in names])


def run_target(name, seconds):
    """True if nothing was found."""
    found = os.path.join(FOLDER, 'corpus', name)
    os.makedirs(found, exist_ok=True)
    command = [os.path.join(FOLDER, 'tests', 'fuzz', f'fuzz_{name}'), f'-max_total_time={seconds}',
               '-rss_limit_mb=1500', '-timeout=20', '-print_final_stats=1', '-verbosity=0',
               f'-artifact_prefix={FOLDER}/{name}-', found, os.path.join(CORPUS, name)]
    # Where the kernel randomises widely, sanitizers cannot place their shadow.
    done = subprocess.run(['setarch', '-R'] + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors='replace', check=False)
    tried = re.search(r'number_of_executed_units:\s*(\d+)', done.stdout)
    print(f'fuzz_{name}: {tried[1] if tried else "no"} inputs in {seconds} s'
          + ('' if done.returncode == 0 else f', exit status {done.returncode}'), flush=True)
    if done.returncode != 0:
        print('\n'.join(done.stdout.splitlines()[-60:]))
    return done.returncode == 0


def main(args):
    seconds = 0
    if args and args[0] == '--seconds':
        seconds = int(args[1])
        args = args[2:]
    names = args or targets()
    reason = missing()
    if reason:
        print(f'fuzz: {reason}: skipped')
        return 77
    try:
        build_targets(names)
    except build.StepFailed as failure:
        print(f'fuzz: {failure}')
        return 1
    good = [run_target(name, seconds or max(1, DEFAULT_SECONDS // len(names))) for name in names]
    return 0 if all(good) else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
