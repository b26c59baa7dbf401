"""tree.py - the project's own text files, as the shape tests see them"""

import os
import subprocess

SOURCE = ('.c', '.h', '.py', '.sh')
TEXT = SOURCE + ('.md', '.build', '.txt', '.yml', '.json', '.scd', '.html', '.js', '.css', '.ini')
NAMED = ('Makefile', 'LICENSE', '.ci/run', '.editorconfig', '.clang-format', '.clang-tidy',
         '.gitignore')


def walk(top):
    for where, folders, names in os.walk(top):
        folders[:] = [f for f in folders if f not in ('.git', '__pycache__')
                      and not f.startswith('build')]
        for name in names:
            yield os.path.relpath(os.path.join(where, name), top)


def files(top, suffixes=TEXT):
    """Paths below `top`, sorted: what git tracks or would add, or all there is without git."""
    listed = None
    if os.path.exists(os.path.join(top, '.git')):
        try:
            done = subprocess.run(['git', '-C', top, 'ls-files', '-coz', '--exclude-standard'],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
            if done.returncode == 0:
                listed = done.stdout.decode().split('\0')
        except OSError:
            pass
    listed = listed if listed is not None else walk(top)
    return sorted({path for path in listed
                   if (path.endswith(suffixes) or (suffixes is TEXT and path in NAMED))
                   and os.path.isfile(os.path.join(top, path))})
