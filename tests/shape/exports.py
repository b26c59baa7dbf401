#!/usr/bin/python3
"""exports.py - the shared library exports what the public headers mark VLY_API, no more and no less

usage: exports.py <include folder> <shared library> <nm>
"""

import os
import re
import subprocess
import sys

COMMENT = re.compile(r'/\*.*?\*/', re.S)
MARKED = re.compile(r'\bVLY_API\b[^;{}]*?\b(vly_\w+)\s*\(')
# A prototype starts in column 0 and is neither a typedef nor an inline body.
PROTOTYPE = re.compile(r'^(?!typedef|static|#)[A-Za-z_][^;{}#]*?\b(vly_\w+)\s*\([^;{}]*;', re.M)


def main(include, library, nm):
    marked, declared = set(), set()
    folder = os.path.join(include, 'volley')
    for name in sorted(os.listdir(folder)):
        if name.endswith('.h'):
            with open(os.path.join(folder, name), encoding='utf-8') as file:
                text = COMMENT.sub('', file.read())
            marked |= set(MARKED.findall(text))
            declared |= set(PROTOTYPE.findall(text))
    listing = subprocess.run([nm, '-D', '--defined-only', library], stdout=subprocess.PIPE,
                             text=True, check=True).stdout
    exported = {line.split()[-1].split('@')[0] for line in listing.splitlines()}
    faults = [(declared - marked, 'declared without VLY_API'),
              (marked - exported, 'marked VLY_API, but the library does not export it'),
              (exported - marked, 'exported, but no public header marks it')]
    for names, fault in faults:
        for name in sorted(names):
            print(f'{name}: {fault}')
    print(f'{len(marked)} functions marked, {len(exported)} exported')
    return 1 if any(names for names, _ in faults) or not exported else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
