#!/usr/bin/python3
"""hygiene.py - no machine paths, no trailing blanks, C files open with their purpose: hygiene.py <top folder> | --self-test"""

import os
import re
import sys

import tree

# Folders of one developer's machine; /home/<user> in a manual is written with the angle brackets.
MACHINE = re.compile(r'(?<![\w.:/-])/(?:work|root|workspace)/\w|(?<![\w.:/-])/home/\w|/tmp/w/')


def check_text(path, data):
    """All faults of one file's bytes."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return [f'{path}: not UTF-8']
    found = []
    if text and not text.endswith('\n'):
        found.append(f'{path}: the last line does not end')
    if text.endswith('\n\n'):
        found.append(f'{path}: blank lines at the end')
    for number, line in enumerate(text.split('\n'), 1):
        if line != line.rstrip():
            found.append(f'{path}:{number}: trailing blanks')
        # This file has to name what it looks for.
        if MACHINE.search(line) and os.path.basename(path) != 'hygiene.py':
            found.append(f'{path}:{number}: a path of one machine: {line.strip()}')
    if path.endswith(('.c', '.h')):
        first = f'/* {os.path.basename(path)} - '
        if not text.startswith(first):
            found.append(f'{path}:1: the first line is not "{first}purpose */"')
    return found


def self_test():
    good = b'/* a.c - one */\n\tint x; /* /proc/self/root/x, https://a.b/work/c */\n'
    cases = [
        ('a.c', good, 0),
        ('b.c', good, 1),
        ('a.c', good + b'int y; \n', 1),
        ('a.c', good + b'/* /work/main/x */\n', 1),
        ('a.md', b'see /home/me/x\n', 1),
        ('a.md', b'in "/root/x"\n', 1),
        ('a.md', b'no end', 1),
        ('a.md', b'end\n\n', 1),
        ('a.md', b'dos\r\n', 1),
        ('a.md', b'\xff\n', 1),
    ]
    wrong = [f'{path} {data!r}' for path, data, want in cases if len(check_text(path, data)) != want]
    print('\n'.join(wrong) or 'what is untidy is found')
    return 1 if wrong else 0


def main(top):
    if top == '--self-test':
        return self_test()
    found = []
    paths = tree.files(top)
    for path in paths:
        with open(os.path.join(top, path), 'rb') as file:
            found += check_text(path, file.read())
    print('\n'.join(found) or f'{len(paths)} files, all tidy')
    return 1 if found or not paths else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
