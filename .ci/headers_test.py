"""Tests of headers.py with small artificial workspaces."""
import importlib.util
import os
import unittest

spec = importlib.util.spec_from_file_location('headers', os.path.join(os.path.dirname(os.path.abspath(__file__)), 'headers.py'))
headers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(headers)

MANIFESTS = {
    'Cargo.toml': {'package': {'name': 'ginkgo'}, 'lib': {'name': 'data_worker'}},
    'actors/Cargo.toml': {'package': {'name': 'the-actors'}, 'lib': {'name': 'actors'}},
    'tests/kit/Cargo.toml': {'package': {'name': 'kit'}},
}
BASE = {
    'src/lib.rs': 'pub mod config; pub mod sink;',
    'src/main.rs': 'fn main() { data_worker::config::settings::load() }',
    'src/config/mod.rs': 'pub mod settings; pub use self::settings::Settings;',
    'src/config/settings.rs': 'pub struct Settings; pub fn load() {}',
    'src/sink.rs': '',
    'actors/src/lib.rs': 'pub mod domain; pub mod router;',
    'actors/src/domain/mod.rs': 'pub mod bar; mod code; pub use bar::{Bar, Field as Column}; pub use code::*;',
    'actors/src/domain/bar.rs': 'pub struct Bar; pub enum Field { A }',
    'actors/src/domain/code.rs': 'pub struct Code;',
    'actors/src/router.rs': '',
    'tests/kit/src/lib.rs': 'pub mod server; pub use server::Server;',
    'tests/kit/src/server.rs': 'pub struct Server;',
}


def tree(**changes):
    return headers.Tree({**BASE, **{k.replace('__', '/') + '.rs': v for k, v in changes.items()}}, MANIFESTS)


def down(text, file='src/sink.rs'):
    """The modules that a file uses, by their module names."""
    found = headers.Tree({**BASE, file: text}, MANIFESTS)
    return ', '.join(sorted(found.names[used] for used in found.edges()[file])) or 'none'


class Paths(unittest.TestCase):
    def test_use_forms(self):
        for text, expected in {
            'use actors::domain::bar::Bar;': 'actors::domain::bar',
            'use actors::{\n  domain::{self, bar::{Bar, Field}},\n  router,\n};': 'actors::domain, actors::domain::bar, actors::router',
            'use actors::domain::Bar;': 'actors::domain::bar',                 # through a re-export
            'use actors::domain::Column as C;': 'actors::domain::bar',         # renamed
            'use actors::domain::Code;': 'actors::domain::code',               # a glob re-export
            'use actors::domain::*;': 'actors::domain',
            'use actors::domain as d; fn f() { d::bar::Bar; }': 'actors::domain, actors::domain::bar',
            'use crate::config::Settings;': 'config::settings',
            'pub(crate) use super::config::settings;': 'config::settings',
            'use ::actors::router;': 'actors::router',
            'use std::fmt; use tokio::sync::mpsc;': 'none',
            'use crate::sink::X; pub struct X;': 'none',
        }.items():
            self.assertEqual(down(text), expected, text)

    def test_inline_paths(self):
        for text, expected in {
            'fn f() -> actors::domain::Bar { crate::config::settings::load() }': 'actors::domain::bar, config::settings',
            'use crate::config; fn f() { config::settings::load(); }': 'config, config::settings',
            '#[derive(actors::router::Thing)] struct S;': 'actors::router',
            'mod tests { use super::*; fn f() { super::super::config::settings::load() } }': 'config::settings',
            'fn f<\'a>(c: char) { if c == \'"\' {} actors::router::go() }': 'actors::router',
            'fn f() { actors::domain::bar::Field::A }': 'actors::domain::bar',
        }.items():
            self.assertEqual(down(text), expected, text)

    def test_no_edges(self):
        for text in ('// use actors::router;', '/* a /* b */ use actors::router; */', 'const S: &str = "use actors::router;";',
                     'const S: &str = r#"crate::config::settings "quoted" "#;', 'fn f() { let actors = 1; }', "const C: char = '\\'';"):
            self.assertEqual(down(text), 'none', text)


class Headers(unittest.TestCase):
    def test_names(self):
        found = tree(tests__flow='use kit::Server;', benches__load='use data_worker::config::Settings;',
                     src__sink='use crate::config::Settings; use actors::domain::Bar;').headers()
        self.assertEqual(found['tests/kit/src/server.rs'][0], '// Upstream: lib, tests::flow')
        self.assertEqual(found['src/config/settings.rs'][0], '// Upstream: benches::load, config, main, sink')
        self.assertEqual(found['src/sink.rs'], ('// Upstream: none', '// Downstream: actors, config'))
        self.assertEqual(found['actors/src/domain/bar.rs'][0], '// Upstream: data_worker, domain')
        self.assertEqual(found['src/main.rs'][0], '// Upstream: operator')
        self.assertEqual(found['tests/flow.rs'][0], '// Upstream: cargo')

    def test_more_than_six_names_are_many(self):
        rooms = {f'src__{name}': 'use crate::sink;' for name in 'abcdefg'}
        lib = BASE['src/lib.rs'] + ''.join(f'mod {name};' for name in 'abcdefg')
        self.assertEqual(tree(src__lib=lib, **rooms).headers()['src/sink.rs'][0], '// Upstream: many')
        del rooms['src__g']
        self.assertEqual(tree(src__lib=lib, **rooms).headers()['src/sink.rs'][0], '// Upstream: a, b, c, d, e, f')

    def test_modules_of_a_test_and_unit_tests(self):
        found = tree(tests__it__main='mod feed; use feed::Feed;', tests__it__feed='pub struct Feed;',
                     src__sink='#[cfg(test)] mod checks;', src__sink__checks='use super::super::config::Settings;').headers()
        self.assertEqual(found['tests/it/feed.rs'][0], '// Upstream: main')
        self.assertEqual(found['src/sink/checks.rs'], ('// Upstream: cargo', '// Downstream: config'))


class Circles(unittest.TestCase):
    def test_finds_a_circle_through_a_re_export(self):
        two = tree(src__sink='use crate::config::Settings;', src__config__settings='use crate::sink; pub struct Settings;')
        self.assertEqual(two.circles(), [['src/config/settings.rs', 'src/sink.rs']])

    def test_finds_a_circle_of_three(self):
        self.assertEqual(headers.circles({'a': {'b'}, 'b': {'c'}, 'c': {'a'}, 'd': {'a'}}), [['a', 'b', 'c']])

    def test_a_tree_has_none_and_tests_do_not_count(self):
        self.assertEqual(tree().circles(), [])
        tests = tree(src__sink='use crate::config::Settings;',
                     src__config__settings='pub struct Settings; #[cfg(test)] mod tests { use crate::sink; }')
        self.assertEqual(tests.circles(), [])


class Text(unittest.TestCase):
    expected = ('// Upstream: main', '// Downstream: none')

    def faults(self, text):
        return [line for line, _, _ in headers.problems('f.rs', text, self.expected)]

    def test_check(self):
        good = '// Upstream: main\n// Downstream: none\n// Role: x\n\nfn f() {}\n'
        self.assertEqual(self.faults(good), [])
        self.assertEqual(self.faults(good.replace('main', 'other')), [1])
        self.assertEqual(self.faults(good.replace('Role: x', 'Role: ')), [3])
        self.assertEqual(self.faults(good.replace('x\n\n', 'x\n// more\n')), [4])
        self.assertEqual(self.faults(good + '\n' * 495), [])
        self.assertEqual(self.faults(good + '\n' * 496), [501])
        self.assertEqual(self.faults('fn f() {}\n'), [1, 2, 3])
        self.assertEqual(self.faults(good.replace('Role: x', 'Role: ' + 111 * 'x')), [])
        self.assertEqual(self.faults(good.replace('Role: x', 'Role: ' + 112 * 'x')), [3])

    def test_write(self):
        self.assertEqual(headers.rewritten('fn f() {}\n', self.expected),
                         '// Upstream: main\n// Downstream: none\n// Role: \n\nfn f() {}\n')
        old = '// Upstream: a\n// Downstream: b\n// Role: x\n\n//! Doc\n'
        new = headers.rewritten(old, self.expected)
        self.assertEqual(new, '// Upstream: main\n// Downstream: none\n// Role: x\n\n//! Doc\n')
        self.assertEqual(headers.rewritten(new, self.expected), new)


if __name__ == '__main__':
    unittest.main()
