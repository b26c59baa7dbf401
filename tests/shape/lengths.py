#!/usr/bin/python3
"""lengths.py - no file above 600 lines, no function above 70: lengths.py <top folder> | --self-test"""

import ast
import os
import sys

import tree

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
# State machines that read better whole, 'path:function', each with its reason beside it.
WHOLE = set()


def c_functions(lines):
    """(name, first line, length) of each function: in kernel style its braces stand in column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith('{'):
            start = number
        elif line.startswith('}') and start is not None:
            # The name is before the first bracket above the brace.
            head = start - 2
            while head > 0 and (lines[head].startswith(('\t', ' ')) or '(' not in lines[head]):
                head -= 1
            name = lines[head].partition('(')[0].split()[-1:] or ['?']
            yield name[0].lstrip('*'), start, number - start + 1
            start = None


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def check_text(path, text):
    """All that is too long in one file."""
    lines = text.splitlines()
    found = []
    if len(lines) > FILE_LINES_MAX:
        found.append(f'{path}: {len(lines)} lines, at most {FILE_LINES_MAX}')
    functions = ()
    if path.endswith(('.c', '.h')):
        functions = c_functions(lines)
    elif path.endswith('.py'):
        functions = python_functions(text)
    for name, line, length in functions:
        if length > FUNCTION_LINES_MAX and f'{path}:{name}' not in WHOLE:
            found.append(f'{path}:{line}: {name} has {length} lines, at most {FUNCTION_LINES_MAX}')
    return found


def self_test():
    body = '\tx++;\n'
    cases = [
        ('a.c', 'static int\nlong_one(int a,\n\t int b)\n{\n' + body * 69 + '}\n', 1),
        ('a.c', 'int fits(void)\n{\n' + body * 68 + '}\n', 0),
        ('a.c', 'struct table {\n' + body * 100 + '};\n', 0),
        ('a.h', '\n' * 600, 0),
        ('a.h', '\n' * 601, 1),
        ('a.py', 'def f():\n' + '    pass\n' * 70, 1),
        ('a.py', 'def f():\n' + '    pass\n' * 69, 0),
    ]
    wrong = [text[:40] for path, text, want in cases if len(check_text(path, text)) != want]
    named = check_text(*cases[0][:2])[0]
    if 'long_one has 71 lines' not in named:
        wrong.append(named)
    print('\n'.join(wrong) or 'what is too long is found')
    return 1 if wrong else 0


def main(top):
    if top == '--self-test':
        return self_test()
    found = []
    paths = tree.files(top, tree.SOURCE)
    for path in paths:
        with open(os.path.join(top, path), encoding='utf-8') as file:
            found += check_text(path, file.read())
    print('\n'.join(found) or f'{len(paths)} files, none too long')
    return 1 if found or not paths else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
