#!/usr/bin/env python3
"""Prints the covered lines by room from reports of `cargo llvm-cov --json`: coverage_table.py UNIT OFFLINE ALL.

A room is a folder below actors/src or src; the tests' own code does not count."""
import collections
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def room_of(path):
    """`actors/command_router`, `src/adapters/kafka`; None for code of the tests."""
    parts = os.path.relpath(path, ROOT).split('/')
    if parts[:2] == ['actors', 'src']:
        return 'actors/' + (parts[2] if len(parts) > 3 else '(root)')
    if parts[0] == 'src':
        return '/'.join(parts[:3] if parts[1] in ('adapters', 'sources') and len(parts) > 3 else parts[:2])
    return None


def lines(report):
    """(covered, all) lines by room."""
    rooms = collections.defaultdict(lambda: [0, 0])
    with open(report, encoding='utf-8') as file:
        for entry in json.load(file)['data'][0]['files']:
            room, summary = room_of(entry['filename']), entry['summary']['lines']
            if room and not entry['filename'].endswith('_tests.rs') and '/simulation/' not in entry['filename']:
                rooms[room][0] += summary['covered']
                rooms[room][1] += summary['count']
    return rooms


def main():
    reports = [lines(path) for path in sys.argv[1:]]
    rooms = sorted(set().union(*reports))
    share = lambda pair: f'{100 * pair[0] / pair[1]:5.1f} %' if pair[1] else '      -'
    print(f'{"room":32} {"lines":>7}  unit     no server  all')

    def row(name, wanted):
        sums = [[sum(report[room][i] for room in wanted if room in report) for i in (0, 1)] for report in reports]
        print(f'{name:32} {sums[-1][1]:7}  ' + '  '.join(share(pair) for pair in sums))

    for room in rooms:
        row(room, [room])
    row('actors in all', [room for room in rooms if room.startswith('actors/')])
    row('everything', rooms)


if __name__ == '__main__':
    main()
