#!/usr/bin/python3
"""test_batch.py - rows and columns: what they hold, what numpy reads, what is sent back"""

import array
import gc
import unittest

import volley
from peers import Thread, connect, nics, poll_until, receive, receive_all

try:
    import numpy
except ImportError:
    numpy = None

WAYS = [(nic, mode) for nic in nics() for mode in ('inline', 'thread')]
FORMATS = {'conns': 'Q', 'stamps': 'Q', 'offsets': 'I', 'lengths': 'I', 'statuses': 'i', 'kinds': 'B', 'data': 'B'}


class Case(unittest.TestCase):
    def every(self, on_batch=None, **options):
        """(engine, port) on each nic in both modes."""
        for nic, mode in WAYS:
            with self.subTest(nic=nic, mode=mode), \
                    volley.Engine(nic=nic, mode=mode, **options) as engine:
                engine.on_batch(on_batch)
                yield engine, engine.listen('127.0.0.1:0', style='batch').sockname[1]

    def source(self, **options):
        """An engine whose batches are full at once."""
        engine = volley.Engine(nic='source:conns=10,len=64,batch=32,order=linear', **options)
        self.addCleanup(engine.close)
        engine.listen('0.0.0.0:1', style='batch')
        return engine

    def first(self, engine, function):
        """function's result of the first batch of nothing but data."""
        out = []

        def on_batch(batch):
            if not out and set(batch.kinds) == {volley.DATA}:
                out.append(function(batch))

        engine.on_batch(on_batch)
        poll_until(engine, lambda: out, 'a batch of data')
        return out[0]


class Columns(Case):
    def test_describe_the_rows(self):
        def look(batch):
            self.assertEqual(len(batch), 32)
            for name, form in FORMATS.items():
                column = getattr(batch, name)
                self.assertIsInstance(column, memoryview)
                self.assertTrue(column.readonly)
                self.assertEqual(column.format, form, name)
            self.assertEqual(list(batch.lengths), [64] * 32)
            self.assertEqual(list(batch.offsets), list(range(0, 2048, 64)))
            self.assertEqual(list(batch.statuses), [0] * 32)
            self.assertEqual(len(set(batch.conns)), 10)
            self.assertTrue(all(0 < stamp <= volley.now_ns() for stamp in batch.stamps))
            numbers = [int.from_bytes(batch.data[at:at + 8], 'little') for at in batch.offsets]
            self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 32)))
            return [bytes(batch.view(i)) for i in range(32)] == [data for _, data in batch]

        self.assertTrue(self.first(self.source(), look))

    def test_a_batch_of_equal_rows_says_how_long_they_are(self):
        self.assertEqual(self.first(self.source(), lambda batch: batch.uniform), 64)

    def test_rows_that_differ_are_not_uniform(self):
        found = {}
        for engine, port in self.every(lambda batch: found.setdefault(tuple(batch.lengths), batch.uniform)):
            found.clear()
            with connect(port) as one, connect(port) as other:
                # One batch or two: what is said of each is true.
                one.sendall(b'123')
                other.sendall(b'12345678')
                poll_until(engine, lambda: sum(sum(lengths) for lengths in found) == 11, 'both')
            for lengths, uniform in found.items():
                alike = len(set(lengths)) == 1 and lengths[0] > 0
                self.assertEqual(uniform, lengths[0] if alike else None, lengths)

    @unittest.skipIf(numpy is None, 'no numpy here')
    def test_are_read_by_numpy_without_copying(self):
        def look(batch):
            data = numpy.asarray(batch.data)
            self.assertFalse(data.flags.owndata or data.flags.writeable)
            again = numpy.asarray(batch.data)
            self.assertEqual(data.__array_interface__['data'][0], again.__array_interface__['data'][0])
            numbers = data.reshape(-1, 64)[:, :8].copy().view('<u8')
            self.assertEqual(numpy.asarray(batch.lengths).dtype, numpy.uint32)
            self.assertEqual(numpy.asarray(batch.conns).dtype, numpy.uint64)
            with self.assertRaises((TypeError, ValueError, BufferError)):
                memoryview(batch.data)[0] = 1
            return int(numbers.max() - numbers.min())

        self.assertEqual(self.first(self.source(), look), 31)

    def test_rows_by_index(self):
        def look(batch):
            self.assertEqual(batch[0][1], bytes(batch.view(0)))
            self.assertEqual(batch[-1], batch[31])
            self.assertEqual(batch[5][0].handle, batch.conns[5])
            self.assertIs(batch.transport(5), batch[5][0])
            self.assertEqual(batch.payloads(), [data for _, data in batch])
            for wrong in (32, -33, 1 << 70):
                with self.assertRaises(IndexError):
                    batch[wrong]
            with self.assertRaises(TypeError):
                batch.view('0')
            return True

        self.assertTrue(self.first(self.source(), look))

    def test_rows_that_are_kept_stay_what_they_were(self):
        """A loop gives the same tuple again and again if nobody has it, and never otherwise."""
        def look(batch):
            kept = list(batch)
            self.assertEqual([data for _, data in kept], batch.payloads())
            self.assertEqual([transport.handle for transport, _ in kept], list(batch.conns))
            self.assertTrue(all(gc.is_tracked(pair) for pair in kept))
            rows = iter(batch)
            first = next(rows)
            gc.collect()
            self.assertEqual((first, next(rows), next(rows)), (batch[0], batch[1], batch[2]))
            self.assertEqual(len([None for _ in batch]), len(batch))
            self.assertEqual(len(list(rows)), len(batch) - 3)
            self.assertEqual(list(rows), [])
            return True

        for prefetch in (True, False):
            self.assertTrue(self.first(self.source(prefetch=prefetch), look))

    def test_a_collection_may_take_rows_while_one_is_made(self):
        def look(batch):
            rows, found = iter(batch), []

            def helps(phase, _):
                if phase == 'start':
                    found.extend(row for row in (next(rows, None) for _ in range(3)) if row)

            gc.callbacks.append(helps)
            threshold = gc.get_threshold()
            gc.set_threshold(1)
            try:
                found.extend(rows)
            finally:
                gc.set_threshold(*threshold)
                gc.callbacks.remove(helps)
            return found

        found = self.first(self.source(), look)
        self.assertTrue(found)
        self.assertLessEqual(len(found), 32)
        for _, data in found:
            self.assertEqual(len(data), 64)

    def test_a_loop_over_rows_ends_with_their_release(self):
        def look(batch):
            seen = []
            with self.assertRaisesRegex(ValueError, 'released'):
                for _, data in batch:
                    seen.append(data)
                    batch.release()
            return len(seen)

        self.assertEqual(self.first(self.source(), look), 1)

    def test_openings_ends_and_errors_are_rows(self):
        kinds = []
        for engine, port in self.every(lambda batch: kinds.extend(zip(batch.kinds, batch.statuses))):
            kinds.clear()
            with connect(port) as peer:
                peer.sendall(b'x')
                poll_until(engine, lambda: (volley.DATA, 0) in kinds, 'data')
            poll_until(engine, lambda: kinds[-1][0] == volley.CLOSED, 'the end')
            self.assertEqual(kinds, [(volley.OPEN, 0), (volley.DATA, 0), (volley.EOF, 0), (volley.CLOSED, 0)])


class Replies(Case):
    def exchange(self, on_batch):
        for engine, port in self.every(on_batch):
            peers = [connect(port) for _ in range(20)]
            for index, peer in enumerate(peers):
                peer.sendall(bytes([index]) * (index + 1))
            readers = [Thread(receive, peer, index + 1) for index, peer in enumerate(peers)]
            poll_until(engine, lambda: not any(r.is_alive() for r in readers), 'all answers')
            for index, reader in enumerate(readers):
                self.assertEqual(reader.join(), bytes([index]) * (index + 1))
            for peer in peers:
                peer.close()

    def test_reply_all_sends_each_row_back(self):
        self.exchange(lambda batch: batch.reply_all())

    def test_reply_all_with_data_and_lengths(self):
        self.exchange(lambda batch: batch.reply_all(batch.data))
        self.exchange(lambda batch: batch.reply_all(bytes(batch.data), batch.lengths))
        self.exchange(lambda batch: batch.reply_all(bytearray(batch.data), array.array('Q', batch.lengths)))

    def test_reply_all_with_a_list(self):
        self.exchange(lambda batch: batch.reply_all(batch.payloads()))
        self.exchange(lambda batch: batch.reply_all(tuple(memoryview(data) for data in batch.payloads())))

    def test_a_list_is_checked_against_the_rows(self):
        def look(batch):
            for wrong, error in (([b'x'] * 31, ValueError), ([b'x'] * 33, ValueError), (['x'] * 32, TypeError)):
                with self.assertRaises(error):
                    batch.reply_all(wrong)
            with self.assertRaises(TypeError):
                batch.reply_all([b'x'] * 32, batch.lengths)
            before = engine.stats()['source_replies']
            batch.reply_all([None] * 30 + [b'x', b'y'])
            return engine.stats()['source_replies'] - before

        engine = self.source()
        self.assertEqual(self.first(engine, look), 2)

    def test_reply_by_row(self):
        def on_batch(batch):
            for row, kind in enumerate(batch.kinds):
                if kind == volley.DATA:
                    batch.reply(row, batch.view(row))

        self.exchange(on_batch)

    def test_by_transport_and_iteration(self):
        def on_batch(batch):
            for transport, data in batch:
                transport.write(data)

        self.exchange(on_batch)

    def test_a_loop_over_the_engine_gets_all(self):
        for engine, port in self.every():
            peers = [connect(port) for _ in range(5)]

            def drive():
                for round_number in range(50):
                    for peer in peers:
                        peer.sendall(b'%04d' % round_number)
                    for peer in peers:
                        assert receive(peer, 4) == b'%04d' % round_number
                engine.stop()

            driver = Thread(drive)
            for batch in engine:
                batch.reply_all()
            self.assertTrue(batch.released)
            driver.join()
            for peer in peers:
                peer.close()

    def test_a_row_answered_after_its_eof_still_goes_out(self):
        for engine, port in self.every(lambda batch: batch.reply_all()):
            with connect(port) as peer:
                peer.sendall(b'last words')
                peer.shutdown(1)
                reader = Thread(receive_all, peer)
                poll_until(engine, lambda: not reader.is_alive(), 'the end')
                self.assertEqual(reader.join(), b'last words')

    def test_a_peer_that_does_not_read_gets_all_in_order(self):
        size = 8 << 20
        pattern = bytes(range(251)) * (size // 251)
        for engine, port in self.every(lambda batch: batch.reply_all(), tx_budget=65536):
            with connect(port) as peer:
                writer = Thread(peer.sendall, pattern)
                for _ in range(100):
                    engine.poll(0.005)
                reader = Thread(receive, peer, len(pattern))
                poll_until(engine, lambda: not reader.is_alive(), 'all bytes')
                writer.join()
                self.assertTrue(reader.join() == pattern)

    def test_wrong_answers_are_refused(self):
        def look(batch):
            for arguments, error in (((0,), TypeError), ((0, 'x'), TypeError), ((99, b'x'), IndexError),
                                     (('0', b'x'), TypeError)):
                with self.assertRaises(error):
                    batch.reply(*arguments)
            total = sum(batch.lengths)
            for arguments, error in (((b'x',), ValueError), (('x',), TypeError), ((b'x', b'x'), TypeError),
                                     ((bytes(total), array.array('I', [1])), ValueError),
                                     ((bytes(total + 1), batch.lengths), ValueError),
                                     ((bytes(total), array.array('Q', [1 << 63] * 32)), ValueError),
                                     ((bytes(total), array.array('d', [64] * 32)), TypeError),
                                     ((None, batch.lengths), TypeError)):
                with self.assertRaises(error, msg=arguments):
                    batch.reply_all(*arguments)
            return True

        engine = self.source()
        self.assertTrue(self.first(engine, look))
        self.assertEqual(engine.stats()['source_replies'], 0)


class Ends(Case):
    def test_a_released_batch_raises_and_its_views_live(self):
        def look(batch):
            view, first = batch.view(3), bytes(batch.view(3))
            batch.release()
            batch.release()
            self.assertTrue(batch.released)
            for use in (lambda: batch.data, lambda: len(batch), lambda: list(batch), lambda: batch[0],
                        lambda: batch.reply(0, b'x'), lambda: batch.reply_all(), lambda: batch.view(0),
                        lambda: batch.transport(0), lambda: batch.close(0), lambda: batch.payloads()):
                with self.assertRaises(ValueError):
                    use()
            return bytes(view) == first

        self.assertTrue(self.first(self.source(), look))

    def test_an_exception_is_reported_and_the_next_batch_comes(self):
        contexts, seen = [], []

        def on_batch(batch):
            seen.append(len(batch))
            raise ValueError('no')

        engine = self.source()
        engine.on_batch(on_batch)
        engine.set_exception_handler(contexts.append)
        poll_until(engine, lambda: len(seen) > 3, 'batches')
        self.assertEqual(len(contexts), len(seen))
        self.assertEqual(engine.stats()['py_exceptions'], len(seen))

    def test_rows_that_nobody_takes_are_an_error(self):
        contexts = []
        engine = self.source()
        engine.set_exception_handler(contexts.append)
        engine.poll(0)
        self.assertIsInstance(contexts[0]['exception'], RuntimeError)

    def test_closing_inside_the_function(self):
        for engine, port in self.every():
            def on_batch(batch):
                batch.reply_all()
                engine.close()

            engine.on_batch(on_batch)
            with connect(port):
                poll_until(engine, lambda: engine.closed or engine.poll(0.01) < 0 or engine.closed, 'the end')


if __name__ == '__main__':
    unittest.main()
