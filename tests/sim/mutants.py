#!/usr/bin/python3
"""mutants.py - plants bugs in the stack, one at a time, and says which seed of the simulation finds each

usage: mutants.py [--build FOLDER] [--seeds N] [name ...]    all by default; build/ and 2000 seeds
       mutants.py --texts                                    only looks whether what they change is still there

Only the changed source is compiled and linked in front of the library; the tree is not touched. Exits with 1 if a mutant
survives, or if its text is no longer in the source.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NIC = 'nic/inet/'

# name: (file, text, what stands there instead)
MUTANTS = {
    'sends_beyond_the_window': (
        'tcp_output.c', 'tcp->snd_wnd > flight ? tcp->snd_wnd - flight : 0;', 'tcp->snd_wnd - flight + 100;'),
    'window_off_by_one': (
        'tcp_output.c', 'uint32_t len = VLY_MIN(want, window);', 'uint32_t len = VLY_MIN(want, window + 2);'),
    'fin_is_not_sent_again': (
        'tcp_timer.c', 'bool fin = tcp->head.flags & VLY_F_FIN_SENT;\n\tuint32_t len = vly_tcp_flight(tcp) - fin;',
        'bool fin = false;\n\tuint32_t len = vly_tcp_flight(tcp) - !!(tcp->head.flags & VLY_F_FIN_SENT);'),
    'fin_before_the_last_bytes': (
        'tcp_output.c', 'bool fin = len == unsent && tcp->head.flags & VLY_F_SHUT;',
        'bool fin = tcp->head.flags & VLY_F_SHUT;'),
    'early_fin_is_believed': (
        'tcp_data.c', 'if (side && side->fin_early && side->fin_seq == tcp->rcv_nxt) {',
        'if (side && side->fin_early) {'),
    'eof_overtakes_data': (
        'tcp_data.c', '(!side || side->rcv_read == tcp->rcv_nxt - 1) && may_tell_eof', '(!side || true) && may_tell_eof'),
    'mss_forgets_the_options': (
        'tcp_input.c', 'tcp->mss = (uint16_t)(tcp->mss - VLY_TCP_TS_BYTES);', ';'),
    'order_without_wrap': (
        'side.c', '#define seq_before(a, b) ((int32_t)((a) - (b)) < 0)', '#define seq_before(a, b) ((a) < (b))'),
    'alarm_is_not_armed_again': (
        'tcp_timer.c', 'tcp->bits |= VLY_TCP_B_ARMED;\n\t\tvly_tcp_arm(inet, tcp, due);\n\t} else {\n\t\ton_rto',
        '} else {\n\t\ton_rto'),
    'any_reset_in_the_window': (
        'tcp_input.c', 'if (view->seq == tcp->rcv_nxt) {\n\t\tvly_tcp_let_go', 'if (in_window(tcp, window, view)) {\n\t\tvly_tcp_let_go'),
    'any_reset_at_all': (
        'tcp_input.c', 'if (view->seq == tcp->rcv_nxt) {\n\t\tvly_tcp_let_go', 'if (true) {\n\t\tvly_tcp_let_go'),
    'syn_in_the_window_resets': (
        'tcp_input.c', '\t\tchallenge(inet, tcp);\n\t\treturn false;\n\t}\n\tif (!(view->flags & VLY_TCP_ACK))',
        '\t\tvly_tcp_let_go(inet, tcp, -ECONNRESET, false);\n\t\treturn false;\n\t}\n\tif (!(view->flags & VLY_TCP_ACK))'),
    'ack_of_what_was_never_sent': (
        'tcp_ack.c', 'if (!vly_seq_after(ack, tcp->snd_nxt) &&', 'if ((!vly_seq_after(ack, tcp->snd_nxt) || true) &&'),
    'ack_of_any_age': (
        'tcp_ack.c', 'behind <= behind_max))', 'behind <= behind_max << 20 || true))'),
    'repeated_bytes_come_twice': (
        'tcp_input.c', '\t\tsegment->data += old;\n', ''),
    'data_beyond_the_window_is_taken': (
        'tcp_input.c', 'return vly_seq_before(view->seq, edge) && vly_seq_after', 'return vly_seq_after'),
    'delayed_ack_never_comes': (
        'tcp_timer.c', 'if (tcp->bits & VLY_TCP_B_DELACK)', 'if (false)'),
    'short_tails_wait_for_the_delayed_ack': (
        'tcp_data.c', 'closed_gap ? VLY_TCP_B_ACK_NOW : vly_tcp_second(tcp)',
        'closed_gap ? VLY_TCP_B_ACK_NOW : segment->len >= tcp->mss ? vly_tcp_second(tcp) : 0'),
    'shut_window_is_never_probed': (
        'tcp_timer.c', '\ttcp->bits |= VLY_TCP_B_PERSIST;\n', '\treturn;\n'),
    'opened_window_is_not_told': (
        'tcp_data.c', 'edge - side->rcv_adv >= step &&', 'edge - side->rcv_adv >= step && false &&'),
    'unscaled_window_wraps': (
        'tcp_core.c', 'vly_tcp_window_by(&core->conf, shift) >> shift', 'core->conf.window >> shift'),
    'no_time_wait': (
        'tcp.c', 'bool lingers = tcp->state == VLY_TCP_FIN_WAIT_2 || tcp->state == VLY_TCP_CLOSING;', 'bool lingers = false;'),
    'time_wait_never_ends': (
        'tcp_accept.c', 'if (mini->list == VLY_MINI_TIME_WAIT || tries >= VLY_MINI_UNSENT) {',
        'if (tries >= VLY_MINI_UNSENT + 100) {'),
    'chunks_leak': (
        'side.c', '\twhile (side->chunk_head != VLY_NO_CHUNK)\n\t\tvly_chunk_pop(sides, side);\n\tvly_slab_put', '\tvly_slab_put'),
    'early_data_is_kept_one_off': (
        'side.c', '!keep(sides, side, &prev, seq, data + (seq - (end - len)), upto - seq))',
        '!keep(sides, side, &prev, seq, data, upto - seq))'),
    'equal_times_are_old': (
        'tcp_input.c', '!vly_seq_before(segment->options.ts_value, tcp->ts_recent))',
        'vly_seq_after(segment->options.ts_value, tcp->ts_recent))'),
    'times_are_learned_outside_the_window': (
        'tcp_input.c', '\tif (!is_recent(inet, tcp, segment)) {', '\tkeep_time(tcp, segment);\n\tif (!is_recent(inet, tcp, segment)) {'),
    'cookies_tell_a_time_to_come': (
        'tcp_accept.c', '((vly_tcp_ts_now(inet) - memory) & ~63u) | memory', '(vly_tcp_ts_now(inet) & ~63u) | memory'),
    'any_cookie_is_good': (
        'tcp_accept.c', 'if ((hash << COOKIE_MSS_BITS | index) != cookie)', 'if (hash == cookie + 1)'),
    'syn_ack_is_not_sent_again': (
        'tcp_accept.c', '\t\tvly_hop_doubt(inet, mini->hop);\n\tsend_syn_ack(inet, mini);', '\t\tvly_hop_doubt(inet, mini->hop);'),
    'syn_is_not_sent_again': (
        'tcp_timer.c', '\t\tvly_tcp_send_syn(inet, tcp);\n', ''),
    'retransmission_starts_one_late': (
        'tcp_output.c', 'vly_tcp_emit(inet, tcp, seg->seq, len,', 'vly_tcp_emit(inet, tcp, seg->seq + 1, len - (len > 0),'),
    'padding_is_payload': (
        'ipv4.c', '(uint16_t)(total_bytes - header_bytes)', '(uint16_t)(len_bytes - header_bytes)'),
    'full_wire_forgets': (
        'tcp_output.c', '\tif (tcp->bits & VLY_TCP_B_TX_LISTED)\n\t\treturn;\n\ttcp->bits |= VLY_TCP_B_TX_LISTED;',
        '\tif (!tcp->bits)\n\t\treturn;\n\ttcp->bits |= 0;\n\treturn;'),
    'sleepers_alarm_is_lost': (
        'inet.c', '\t\tif (due_ns != UINT64_MAX)\n\t\t\tvly_inet_watch(inet, VLY_MAX(due_ns, inet->now_ns + 1));\n', '\t\t(void)due_ns;\n'),
    'sum_of_udp_and_tcp_is_not_looked_at': (
        'tcp_header.c', 'if (!vly_checksum_intact(sum))', 'if (!sum)'),
}


class Build:
    """How the build folder compiles a source and links the program."""

    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, 'compile_commands.json'), encoding='utf-8') as file:
            entries = json.load(file)
        self.commands = {os.path.relpath(os.path.realpath(os.path.join(e['directory'], e['file'])),
                                         os.path.realpath(TOP)): e for e in entries}
        listing = subprocess.run(['/usr/bin/ninja', '-C', folder, '-t', 'commands', 'tests/sim/sim'],
                                 stdout=subprocess.PIPE, text=True, check=True).stdout
        self.link = shlex.split(listing.strip().splitlines()[-1])

    def compile(self, source, text, where):
        entry = self.commands[source]
        path = os.path.join(where, os.path.basename(source))
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        command = shlex.split(entry['command'])
        command[command.index('-o') + 1] = path + '.o'
        command[command.index('-c') + 1] = path
        command = [word for word in command if word != '-Werror' and not word.startswith('-M')]
        if '-MF' in shlex.split(entry['command']):
            command = drop_pairs(command, ('-MQ', '-MF', entry['output'], entry['output'] + '.d'))
        subprocess.run(command + ['-w'], cwd=entry['directory'], check=True)
        return path + '.o'

    def program(self, objects, where):
        command = list(self.link)
        out = os.path.join(where, 'sim')
        command[command.index('-o') + 1] = out
        # Before the library, whose own version of it is then not wanted.
        command[command.index('-o') + 2:command.index('-o') + 2] = objects
        subprocess.run(command, cwd=self.folder, check=True)
        return out


def drop_pairs(command, unwanted):
    return [word for word in command if word not in unwanted]


def source_of(name):
    file, text, _ = MUTANTS[name]
    with open(os.path.join(TOP, NIC + file), encoding='utf-8') as source:
        whole = source.read()
    return whole, text in whole


def stale():
    """Prints mutants whose text somebody has changed since; 1 if there are any."""
    names = [name for name in MUTANTS if not source_of(name)[1]]
    for name in names:
        print(f'{name}: its text is not in {NIC}{MUTANTS[name][0]} any more')
    return 1 if names else 0


def try_mutant(build, name, seeds):
    """What became of it, in words; None: it survived."""
    file, text, instead = MUTANTS[name]
    whole, there = source_of(name)
    if not there:
        return f'STALE: its text is not in {NIC}{file} any more'
    with tempfile.TemporaryDirectory() as where:
        program = build.program([build.compile(NIC + file, whole.replace(text, instead, 1), where)], where)
        done = subprocess.run([program, '--seeds', str(seeds)], cwd=where, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors='replace', check=False)
    if done.returncode == 0:
        return None
    found = re.search(r'seed (\d+) (violates an invariant after [^:]*: |ends )(.*)', done.stdout)
    return f'seed {found[1]}: {found[3]}' if found else f'exit status {done.returncode}'


def main(args):
    folder, seeds = os.path.join(TOP, 'build'), 2000
    if args == ['--texts']:
        return stale()
    while args and args[0].startswith('--'):
        if args[0] == '--build':
            folder = os.path.abspath(args[1])
        elif args[0] == '--seeds':
            seeds = int(args[1])
        else:
            print(__doc__, file=sys.stderr)
            return 2
        args = args[2:]
    build = Build(folder)
    began, bad = time.monotonic(), 0
    names = args or list(MUTANTS)
    for name in names:
        outcome = try_mutant(build, name, seeds)
        bad += outcome is None or outcome.startswith('STALE')
        print(f'{name}: {outcome or f"SURVIVED {seeds} seeds"}', flush=True)
    print(f'{len(names)} mutants, {len(names) - bad} found, {time.monotonic() - began:.0f} s')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
