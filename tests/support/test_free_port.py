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
            with mock.patch('random.choice', side_effect=[taken, taken - 1, ports.END - 1, other]):
                self.assertEqual(free_port(2), other)

    def test_where_the_kernel_may_choose_any_it_is_still_free(self):
        with mock.patch.object(ports, 'outside', return_value=[]):
            self.assertTrue(ports.is_free(free_port()))


if __name__ == '__main__':
    sys.exit(unittest.main())
