#!/usr/bin/python3
"""all_built.py - no source is forgotten: every .c is compiled, every test_*.py of tests/cli and tests/python is run

usage: all_built.py <top folder> <build folder> [<name of a cli test>...] [-- <name of a python test>...]
"""

import json
import os
import sys

import tree

# Compiled by the sanitizer build alone; built where its parts are installed alone.
ELSEWHERE = ('tests/shape/leak_gate.c',)
OPTIONAL = ('pyshim/', 'nic/inet/dpdk')


def main(top, build, names):
    split = names.index('--') if '--' in names else len(names)
    listed = {'tests/cli': names[:split], 'tests/python': names[split + 1:]}
    with open(os.path.join(build, 'compile_commands.json'), encoding='utf-8') as file:
        compiled = {os.path.relpath(os.path.realpath(os.path.join(e['directory'], e['file'])),
                                    os.path.realpath(top)) for e in json.load(file)}
    forgotten = []
    sources = tree.files(top, ('.c', '.py'))
    for path in sources:
        folder, name = os.path.split(path)
        if path.endswith('.c'):
            if path not in compiled and path not in ELSEWHERE and not path.startswith(OPTIONAL):
                forgotten.append(path)
        elif folder in listed and name.startswith('test_'):
            if name[len('test_'):-len('.py')] not in listed[folder]:
                forgotten.append(path)
    for path in forgotten:
        print(f'{path}: in the tree, but no meson.build names it')
    print(f'{len(sources)} sources, {len(forgotten)} forgotten')
    return 1 if forgotten or not compiled else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
