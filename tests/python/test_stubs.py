"""test_stubs.py - the type stubs name exactly what is there, and help(volley) explains it"""

import ast
import inspect
import os
import pydoc
import sys
import unittest

import volley
from peers import TOP
from volley import _volley, loop, parallel

FOLDER = os.path.join(TOP, 'pyshim', 'volley')
ALIASES = {'Sendable', 'Reply', 'Address', 'Style'}  # of the stub alone


def stub(name):
    """{name: {member, ...} or None} of a stub's top level."""
    with open(os.path.join(FOLDER, name + '.pyi'), encoding='utf-8') as file:
        tree = ast.parse(file.read())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {member.name if isinstance(member, ast.FunctionDef) else member.target.id
                                for member in node.body if isinstance(member, (ast.FunctionDef, ast.AnnAssign))}
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = None
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = None
    return found


def public(names):
    return {name for name in names if not name.startswith('_')}


class Stubs(unittest.TestCase):
    def test_name_everything_and_nothing_else(self):
        for module in (_volley, loop, parallel):
            name = module.__name__.rpartition('.')[2]
            named = stub(name)
            there = set(getattr(module, '__all__', None) or public(vars(module)))
            if module is parallel:
                there |= {'Server', 'Client'}
            with self.subTest(module=name):
                self.assertEqual(public(named) - ALIASES, public(there))
            for kind, members in named.items():
                if members is not None:
                    with self.subTest(module=name, type=kind):
                        self.compare(getattr(module, kind), members)

    def compare(self, kind, members):
        for member in members:
            # Annotated attributes of Python classes are set in __init__.
            self.assertTrue(hasattr(kind, member) or any('__init__' in vars(base) for base in kind.__mro__[:-1]), f'{kind.__name__}.{member}')
        if kind.__module__.startswith('volley') and not inspect.isfunction(getattr(kind, '_make_self_pipe', None)):
            self.assertEqual(public(vars(kind)) - members, set(), f'{kind.__name__}: not in the stub')

    def test_package_exports_what_it_says(self):
        for name in volley.__all__:
            self.assertTrue(hasattr(volley, name), name)
        self.assertLessEqual(set(volley.__all__), set(dir(volley)))
        with self.assertRaises(AttributeError):
            volley.nothing_of_this_name

    def test_is_marked_as_typed(self):
        self.assertTrue(os.path.exists(os.path.join(os.path.dirname(volley.__file__), 'py.typed')))


class Help(unittest.TestCase):
    def test_everything_public_has_words_and_methods_have_signatures(self):
        for kind in vars(_volley).values():
            if not isinstance(kind, type):
                continue
            self.assertTrue(kind.__doc__, kind)
            for name, member in vars(kind).items():
                if name.startswith('_'):
                    continue
                with self.subTest(type=kind.__name__, member=name):
                    self.assertTrue(member.__doc__)
                    if callable(member):
                        self.assertTrue(inspect.signature(member))

    def test_help_shows_a_server_to_begin_with(self):
        text = pydoc.plain(pydoc.render_doc(volley))
        for word in ('Engine', 'listen', 'new_event_loop', 'parallel', 'batch', 'completion'):
            self.assertIn(word, text)


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
