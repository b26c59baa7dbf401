"""test_free_port.py - ports for servers of the tests are free, and nobody else gets them by chance"""

import socket
import sys
import unittest
from unittest import mock

import free_port as ports
from free_port import free_port


class FreePort(unittest.TestCase):
    def test_the_kernel_chooses_none_of_them(self):
        if not ports.outside():
            self.skipTest(f'{ports.KERNELS} leaves no port')
        with open(ports.KERNELS, encoding='ascii') as file:
            low, high = map(int, file.read().split())
        for _ in range(50):
            self.assertFalse(low <= free_port() <= high)

    def test_what_is_taken_is_not_given(self):
        other = free_port(2)
        with socket.create_server(('127.0.0.1', 0)) as server:
            taken = server.getsockname()[1]

            def order(starts):
                starts[:] = [taken, taken - 1, other]
            with mock.patch('random.shuffle', order):
                self.assertEqual(free_port(2), other)

    def test_all_of_a_row_are_outside(self):
        with mock.patch.object(ports, 'outside', return_value=[20000, 20001, 30000]), \
                mock.patch.object(ports, 'is_free', return_value=True):
            self.assertEqual({free_port(2) for _ in range(20)}, {20000})

    def test_where_no_row_is_outside_any_will_do(self):
        with mock.patch.object(ports, 'outside', return_value=[65535]):
            self.assertTrue(ports.is_free(free_port(2)))

    def test_where_the_kernel_may_choose_any_it_is_still_free(self):
        with mock.patch.object(ports, 'outside', return_value=[]):
            self.assertTrue(ports.is_free(free_port()))


if __name__ == '__main__':
    sys.exit(unittest.main())
