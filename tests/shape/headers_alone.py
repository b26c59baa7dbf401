#!/usr/bin/python3
"""headers_alone.py - each public header compiles alone: headers_alone.py <include folder> <standard> <compiler...>"""

import os
import subprocess
import sys
import tempfile

WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Werror']


def main(include, standard, compiler):
    suffix = '.cpp' if '++' in standard else '.c'
    names = sorted(n for n in os.listdir(os.path.join(include, 'volley')) if n.endswith('.h'))
    # Warnings of headers found by -I count; those of system headers do not.
    flags = [f'-std={standard}', '-fsyntax-only', *WARNINGS, '-I', include]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = os.path.join(folder, 'alone' + suffix)
            with open(path, 'w', encoding='utf-8') as file:
                # Twice: the include guard is part of it. The declaration: C forbids an empty unit.
                file.write(f'#include "volley/{name}"\n' * 2 + 'extern int not_empty;\n')
            done = subprocess.run(compiler + flags + [path], stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode != 0:
                bad += 1
                print(f'volley/{name} does not compile alone as {standard}:\n{done.stdout}')
    print(f'{len(names)} headers as {standard}, {bad} do not compile alone')
    return 1 if bad or not names else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
