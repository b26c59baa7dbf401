#!/usr/bin/python3
"""include_direction.py - every #include points upwards: include/volley < base < mempool < nic < engine < bench, pyshim

usage: include_direction.py <top folder>     checks the tree
       include_direction.py --self-test      checks that planted violations are found
"""

import os
import re
import sys
import tempfile

# Folder: the folders whose headers it may include, beyond the public ones.
MAY_INCLUDE = {
    'base': ['base'],
    'mempool': ['base', 'mempool'],
    'nic': ['base', 'mempool', 'nic'],
    'engine': ['base', 'mempool', 'nic', 'engine'],
    'pyshim': ['base', 'mempool', 'engine', 'pyshim'],
    'bench': ['bench'],
    'examples': [],
    'include/volley': [],
}
# The raw-wire row of the bench drives a wire itself.
# keepup reads the counters that the module's consumers share.
EXCEPTIONS = {('bench', 'nic/inet/wire.h'), ('bench', 'pyshim/meter.h')}
PROJECT = {'base', 'mempool', 'nic', 'engine', 'pyshim', 'bench', 'examples', 'tests'}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def check_line(folder, quote, target):
    """Why `folder` may not include `target`; None where it may."""
    first, _, rest = target.partition('/')
    if first == 'volley':
        return None
    if first not in PROJECT:
        return None if quote == '<' else 'is not written from the top folder'
    if (folder, target) in EXCEPTIONS:
        return None
    if first not in MAY_INCLUDE[folder]:
        return f'{folder}/ may not know {first}/'
    if first == 'nic' and folder == 'engine' and '/' in rest:
        return 'the engine does not know which nic it runs on'
    return None


def check_tree(top):
    """All violations as 'file:line: text', and the number of files read."""
    found = []
    files = 0
    for folder in MAY_INCLUDE:
        for where, _, names in sorted(os.walk(os.path.join(top, folder))):
            for name in sorted(names):
                if not name.endswith(('.c', '.h')):
                    continue
                files += 1
                path = os.path.join(where, name)
                with open(path, encoding='utf-8') as file:
                    for number, line in enumerate(file, 1):
                        match = INCLUDE.match(line)
                        reason = match and check_line(folder, match[1], match[2])
                        if reason:
                            found.append(f'{os.path.relpath(path, top)}:{number}: '
                                         f'{match[2]}: {reason}')
    return found, files


PLANTED = [
    ('base/a.c', '#include "mempool/slab.h"'),
    ('base/b.h', '  #  include "engine/core.h"'),
    ('mempool/a.c', '#include "nic/nic.h"'),
    ('nic/epoll/a.c', '#include "engine/core.h"'),
    ('engine/a.c', '#include "nic/epoll/epoll.h"'),
    ('engine/b.c', '#include "bench/row.h"'),
    ('pyshim/a.c', '#include "nic/nic.h"'),
    ('bench/a.c', '#include "engine/core.h"'),
    ('bench/b.c', '#include "base/clock.h"'),
    ('bench/c.c', '#include <base/clock.h>'),
    ('examples/a.c', '#include "base/clock.h"'),
    ('include/volley/a.h', '#include "base/clock.h"'),
    ('base/c.c', '#include "clock.h"'),
]
ALLOWED = [
    ('base/ok.c', '#include <stdio.h>\n#include "base/clock.h"\n#include "volley/log.h"'),
    ('nic/epoll/ok.c', '#include "nic/epoll/epoll.h"\n#include "mempool/buf.h"'),
    ('engine/ok.c', '#include "nic/nic.h"\n#include "base/ring.h"'),
    ('bench/ok.c', '#include "nic/inet/wire.h"\n#include "bench/row.h"\n#include "volley/engine.h"'),
    ('include/volley/ok.h', '#include "volley/event.h"\n#include <stdint.h>'),
]


def self_test():
    with tempfile.TemporaryDirectory() as top:
        for path, text in PLANTED + ALLOWED:
            os.makedirs(os.path.dirname(os.path.join(top, path)), exist_ok=True)
            with open(os.path.join(top, path), 'w', encoding='utf-8') as file:
                file.write(text + '\n')
        found = {line.partition(':')[0] for line in check_tree(top)[0]}
    wrong = found ^ {path for path, _ in PLANTED}
    for path in sorted(wrong):
        print(f'{path}: {"wrongly accused" if path in found else "planted violation not found"}')
    return 1 if wrong else 0


def main(args):
    if args == ['--self-test']:
        return self_test()
    found, files = check_tree(args[0])
    print('\n'.join(found) or f'{files} files, every include points upwards')
    return 1 if found or files == 0 else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
