#!/usr/bin/env python3
"""Checks the header of every Rust file and finds import cycles between files.

    // Upstream: modules that use this file        (`operator` for a program, `cargo` for targets that cargo runs)
    // Downstream: modules that this file uses
    // Role: one sentence

A name stands for a folder: its path below `src` in the same crate, or the crate name for another crate. A file in the
same folder appears with its own name. More than six names are written as `many`. Both lines are computed from `use`
trees and paths in the code; `mod x;` does not count as a use. A path through a re-export counts for the file that
defines the item. `--write` rewrites the two lines. Errors are: a header line of more than 120 characters, a file of
more than 500 lines, and an import cycle between files (without unit tests)."""
import argparse
import os
import re
import subprocess
import sys
import tomllib

MAX_LINES = 500
MAX_LINE_CHARS = 120
MAX_NAMES = 6
FIELDS = ('Upstream', 'Downstream', 'Role')
TOKEN = re.compile(r'''
    //[^\n]* | /\*                                                     # a comment (block comments nest: see tokens())
  | \b(?:br|cr|r)(?P<h>\#*)"(?s:.*?)"(?P=h) | [bc]?"(?s:\\.|[^"\\])*"       # a string
  | b?'(?:\\(?:u\{[0-9a-fA-F_]+\}|x..|.)|[^'\\\n])'                      # a character
  | '\w+                                                               # a lifetime
  | (?P<code>(?:r\#)?[A-Za-z_]\w*|::|[{}();,*<\#\[\]=!$])
  | .''', re.X)
ITEM = {'struct', 'enum', 'trait', 'fn', 'type', 'const', 'static', 'union'}


def tokens(text):
    """Identifiers and punctuation, without comments, strings and lifetimes."""
    out, at = [], 0
    while match := TOKEN.search(text, at):
        at = match.end()
        if match.group() == '/*':
            depth = 1
            while depth and (mark := re.compile(r'/\*|\*/').search(text, at)):
                depth, at = depth + (1 if mark.group() == '/*' else -1), mark.end()
        elif match.group('code'):
            out.append(match.group('code').removeprefix('r#'))
    return out


class Module:
    def __init__(self, file, parent=None, test=False):
        self.file, self.parent, self.test = file, parent, test
        self.children, self.items, self.uses, self.globs, self.paths = {}, set(), {}, [], []

    def root(self):
        return self.parent.root() if self.parent else self


def is_name(token):
    return re.match(r'[A-Za-z_]', token) is not None


def use_tree(toks, i, prefix):
    """Parses one use tree. Returns the position after it and its leaves: (path, bound name), with None for a glob."""
    path, leaves = list(prefix), []
    while i < len(toks):
        token = toks[i]
        if token == '{':
            i += 1
            while i < len(toks) and toks[i] != '}':
                if toks[i] == ',':
                    i += 1
                    continue
                start = i
                i, inner = use_tree(toks, i, path)
                i += i == start  # not valid Rust: skip a token
                leaves += inner
            return i + 1, leaves
        if token == '*':
            return i + 1, [(path, None)]
        if token == '::':
            i += 1
        elif is_name(token):
            i += 1
            if not (token == 'self' and path):  # `a::{self}` is `a`
                path.append(token)
            if i < len(toks) and toks[i] == 'as':
                return i + 2, [(path, toks[i + 1])]
            if i >= len(toks) or toks[i] != '::':
                return i, [(path, path[-1])]
        else:
            return i, leaves
    return i, leaves


class Tree:
    """All modules of the workspace, found through the `mod` declarations of the targets."""

    def __init__(self, files, manifests):
        self.files, self.names, self.upstream, self.libs, self.modules = files, {}, {}, {}, []
        self.crates = []  # (folder of the root file, crate name)
        for manifest, content in sorted(manifests.items()):
            self.package(os.path.dirname(manifest), content, [os.path.dirname(m) for m in manifests])

    def package(self, folder, manifest, folders):
        name = manifest.get('package', {}).get('name')
        if not name:
            return
        inner = [f for f in folders if f != folder and (not folder or f.startswith(folder + '/'))]
        at = (folder + '/') if folder else ''
        own = [f for f in sorted(self.files) if f.startswith(at) and not any(f.startswith(i + '/') for i in inner)]
        lib = manifest.get('lib', {})
        library, prefix = lib.get('name', name.replace('-', '_')), ''
        if folder:
            prefix = library + '::'
        path = at + lib.get('path', 'src/lib.rs')
        if path in self.files:
            self.libs[library] = self.target(path, library, prefix)
        found = {at + 'src/main.rs': ('main', 'operator'), at + 'build.rs': ('build', 'cargo')}
        for file in own:
            match = re.fullmatch(r'(src/bin|tests|benches|examples)/(\w+)(\.rs|/main\.rs)', file[len(at):])
            if match:
                found[file] = (match.group(1).replace('src/', '') + '::' + match.group(2),
                               'operator' if match.group(1) == 'src/bin' else 'cargo')
        for kind, label in (('bin', 'bin'), ('test', 'tests'), ('bench', 'benches'), ('example', 'examples')):
            for entry in manifest.get(kind, []):
                if 'path' in entry:
                    found.setdefault(at + entry['path'], (f'{label}::{entry["name"]}', 'operator' if kind == 'bin' else 'cargo'))
        for file, (label, user) in sorted(found.items()):
            if file in self.files:
                self.upstream.setdefault(file, user)
                self.target(file, prefix + label, prefix + label + '::')

    def target(self, file, name, prefix):
        module = Module(file)
        folder = os.path.dirname(file)
        if (folder, name) not in self.crates and not any(folder == known for known, _ in self.crates):
            self.crates.append((folder, name))
        self.names.setdefault(file, name)
        self.read(module, prefix, os.path.dirname(file))
        return module

    def read(self, module, prefix, folder):
        """Reads the file of a module. `folder` contains the files of its child modules."""
        self.modules.append(module)
        toks, stack, attribute, i = tokens(self.files[module.file]), [], '', 0
        here = (module, prefix, folder)
        while i < len(toks):
            token, after = toks[i], toks[i + 1] if i + 1 < len(toks) else ''
            if token == '#' and after in ('[', '!'):
                end = i + 1
                depth = 0
                while end < len(toks):
                    depth += (toks[end] == '[') - (toks[end] == ']')
                    end += 1
                    if depth == 0 and toks[end - 1] == ']':
                        break
                attribute += ' '.join(toks[i:end]) if after == '[' else ''
                self.find_paths(here[0], toks[i:end])
                i = end
                continue
            if token == 'mod' and is_name(after) and i + 2 < len(toks) and toks[i + 2] in ';{':
                current, label, where = here
                test = current.test or bool(re.search(r'\bcfg \( test\b', attribute))
                below = os.path.join(where, after)
                if toks[i + 2] == '{':
                    child = current.children[after] = Module(module.file, current, test)
                    self.modules.append(child)
                    stack.append((here, len(stack)))
                    here = (child, f'{label}{after}::', below)
                else:
                    for file in (below + '.rs', os.path.join(below, 'mod.rs')):
                        if file in self.files:
                            child = current.children[after] = Module(file, current, test)
                            if self.names.setdefault(file, label + after) == label + after:
                                self.read(child, f'{label}{after}::', below)
                i, attribute = i + 3, ''
                continue
            if token == 'use' and (is_name(after) or after in ('::', '{')):
                i, leaves = use_tree(toks, i + 1, [])
                for path, name in leaves:
                    if name is None:
                        here[0].globs.append(path)
                    elif path:
                        here[0].uses.setdefault(name, path)
                    here[0].paths.append(path)
                attribute = ''
                continue
            if token in ITEM and is_name(after) or token == 'macro_rules' and after == '!':
                here[0].items.add(after if token in ITEM else toks[i + 2])
            if token == '{':
                stack.append((None, 0))
            elif token == '}' and stack:
                saved = stack.pop()[0]
                here = saved or here
            if token in '{};':
                attribute = ''
            i = self.path_at(here[0], toks, i)

    @staticmethod
    def path_at(module, toks, i):
        """Records the path that starts at `i`, if any. Returns the position after it."""
        if not is_name(toks[i]):
            return i + 1
        path = [toks[i]]
        i += 1
        while i + 1 < len(toks) and toks[i] == '::' and is_name(toks[i + 1]):
            path.append(toks[i + 1])
            i += 2
        if len(path) > 1:
            module.paths.append(path)
        return i

    def find_paths(self, module, toks):
        i = 0
        while i < len(toks):
            i = self.path_at(module, toks, i)

    def resolve(self, module, path, seen=frozenset()):
        """Resolves a path to a module or, for an item, to its file. None if it is outside of the project."""
        if not path or (id(module), tuple(path)) in seen:
            return None
        seen |= {(id(module), tuple(path))}
        first, rest = path[0], path[1:]
        if first == 'crate':
            return self.descend(module.root(), rest, seen)
        if first == 'self':
            return self.descend(module, rest, seen)
        if first == 'super':
            at = module.parent
            while rest[:1] == ['super'] and at:
                at, rest = at.parent, rest[1:]
            return self.descend(at, rest, seen) if at else None
        if found := self.lookup(module, first, rest, seen):
            return found
        return self.descend(self.libs[first], rest, seen) if first in self.libs else None

    def lookup(self, module, name, rest, seen):
        """Looks up a name in a module: a child module, an item or an import."""
        if name in module.children:
            return self.descend(module.children[name], rest, seen)
        if name in module.items:
            return module.file
        if name in module.uses:
            target = self.resolve(module, module.uses[name], seen)
            return self.descend(target, rest, seen) if isinstance(target, Module) else target
        for path in module.globs:
            target = self.resolve(module, path, seen)
            if isinstance(target, Module) and target is not module:
                mark = (id(target), name, 'glob')
                if mark not in seen and (found := self.lookup(target, name, rest, seen | {mark})):
                    return found
        return None

    def descend(self, module, path, seen):
        if not path:
            return module
        return self.lookup(module, path[0], path[1:], seen) or module.file

    def edges(self, with_tests=True):
        """The files that each file uses."""
        down = {file: set() for file in self.names}
        for module in self.modules:
            for path in module.paths if with_tests or not module.test else ():
                found = self.resolve(module, path)
                file = found.file if isinstance(found, Module) else found
                if file and file != module.file:
                    down[module.file].add(file)
        return down

    def circles(self):
        """Groups of files that import each other, directly or indirectly, without unit tests."""
        return circles(self.edges(with_tests=False))

    def crate_of(self, file):
        """The root folder and the name of the crate that contains the file."""
        return max(((folder, name) for folder, name in self.crates if file.startswith(folder + '/')),
                   key=lambda crate: len(crate[0]), default=('', ''))

    def name_for(self, file, reader):
        """The name of `file` in the header of `reader`."""
        folder, crate = self.crate_of(file)
        if self.crate_of(reader) != (folder, crate):
            return crate
        if os.path.dirname(file) == os.path.dirname(reader):
            stem = os.path.basename(file)[:-3]
            return os.path.basename(os.path.dirname(file)) if stem == 'mod' else stem
        room = os.path.dirname(file)[len(folder) + 1:]
        return room.replace('/', '::') or os.path.basename(file)[:-3]

    def headers(self):
        """The first two header lines of each file."""
        down = self.edges()
        up = {file: {user for user in down if file in down[user]} for file in self.names}
        tests = {m.file for m in self.modules if m.test and not any(o.file == m.file and not o.test for o in self.modules)}

        def line(field, files, reader, fallback):
            names = sorted({self.name_for(file, reader) for file in files}) or [fallback]
            return f'// {field}: {", ".join(names) if len(names) <= MAX_NAMES else "many"}'

        result = {}
        for file in self.names:
            upstream = self.upstream.get(file)
            fallback = 'cargo' if file in tests else 'none'
            result[file] = (f'// Upstream: {upstream}' if upstream else line('Upstream', up[file], file, fallback),
                            line('Downstream', down[file], file, 'none'))
        return result


def circles(down):
    """The strongly connected components with more than one file (Tarjan), each sorted."""
    index, low, stack, groups = {}, {}, [], []

    def visit(root):
        work = [(root, iter(sorted(down.get(root, ()))))]
        index[root] = low[root] = len(index)
        stack.append(root)
        while work:
            file, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    work.append((target, iter(sorted(down.get(target, ())))))
                    break
                if target in stack:
                    low[file] = min(low[file], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[file])
                if low[file] == index[file]:
                    group = stack[stack.index(file):]
                    del stack[stack.index(file):]
                    if len(group) > 1:
                        groups.append(sorted(group))

    for file in sorted(down):
        if file not in index:
            visit(file)
    return sorted(groups)


def rewritten(text, expected):
    """The text with the expected first two header lines. A missing role stays empty."""
    lines, role = text.split('\n'), '// Role: '
    while lines and (match := re.match(r'// ?(Upstream|Downstream|Role):', lines[0])):
        role = lines[0] if match.group(1) == 'Role' else role
        lines.pop(0)
    return '\n'.join([*expected, role, *([] if lines[:1] == [''] else ['']), *lines])


def problems(file, text, expected):
    """Yields (line, expected, found) for each error in one file."""
    lines = text.split('\n') + [''] * 4
    if expected is None:
        yield 1, 'a file that belongs to a target', 'no `mod` declaration for this file'
    for number in range(2 if expected else 0):
        if lines[number] != expected[number]:
            yield number + 1, expected[number], lines[number]
    for number in range(3):
        if len(lines[number]) > MAX_LINE_CHARS:
            yield number + 1, f'at most {MAX_LINE_CHARS} characters', f'{len(lines[number])} characters'
    if not re.match(r'// Role: \S', lines[2]):
        yield 3, '// Role: and the purpose of the file', lines[2]
    if lines[3]:
        yield 4, 'an empty line', lines[3]
    if (count := text.count('\n')) > MAX_LINES:
        yield MAX_LINES + 1, f'at most {MAX_LINES} lines', f'{count} lines'


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('--write', action='store_true', help='rewrite the first two lines of each header')
    write = args.parse_args().write
    os.chdir(subprocess.check_output(['git', 'rev-parse', '--show-toplevel'], text=True).strip())
    listed = subprocess.check_output(['git', 'ls-files', '-coz', '--exclude-standard', '--', '*.rs', '*Cargo.toml'], text=True)
    files, manifests = {}, {}
    for path in sorted(set(filter(os.path.isfile, listed.split('\0')))):
        with open(path, encoding='utf-8', newline='') as f:
            text = f.read()
        if path.endswith('.rs'):
            files[path] = text
        elif os.path.basename(path) == 'Cargo.toml':
            manifests[path] = tomllib.loads(text)
    tree = Tree(files, manifests)
    headers, faults = tree.headers(), 0
    for path, text in files.items():
        if write and path in headers and (new := rewritten(text, headers[path])) != text:
            with open(path, 'w', encoding='utf-8', newline='') as f:
                f.write(new)
            text = new
        for line, expected, found in problems(path, text, headers.get(path)):
            print(f'{path}:{line}\n  expected: {expected}\n  found:    {found}')
            faults += 1
    for group in tree.circles():
        print('import cycle: ' + ', '.join(group))
        faults += 1
    print(f'headers: {len(files)} files, {faults} errors')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
