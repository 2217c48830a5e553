"""Tests of headers.py on small made-up workspaces."""
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


def edges(**changes):
    files = {**BASE, **{k.replace('__', '/') + '.rs': v for k, v in changes.items()}}
    return headers.Tree(files, MANIFESTS).headers()


def down(text, file='src/sink.rs'):
    return headers.Tree({**BASE, file: text}, MANIFESTS).headers()[file][1].removeprefix('// Downstream: ')


class Paths(unittest.TestCase):
    def test_use_forms(self):
        for text, expected in {
            'use actors::domain::bar::Bar;': 'actors::domain::bar',
            'use actors::{\n  domain::{self, bar::{Bar, Field}},\n  router,\n};': 'actors::domain, actors::domain::bar, actors::router',
            'use actors::domain::Bar;': 'actors::domain::bar',                 # through a re-export
            'use actors::domain::Column as C;': 'actors::domain::bar',         # a renamed one
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

    def test_upstream(self):
        found = edges(tests__flow='use kit::Server;', benches__load='use data_worker::config::Settings;')
        self.assertEqual(found['tests/kit/src/server.rs'][0], '// Upstream: kit, tests::flow')
        self.assertEqual(found['src/config/settings.rs'][0], '// Upstream: benches::load, config, main')
        self.assertEqual(found['src/main.rs'][0], '// Upstream: operator')
        self.assertEqual(found['tests/flow.rs'][0], '// Upstream: cargo')
        self.assertEqual(found['src/sink.rs'][0], '// Upstream: none')

    def test_modules_of_a_test_and_unit_tests(self):
        found = headers.Tree({**BASE, 'tests/it/main.rs': 'mod feed; use feed::Feed;', 'tests/it/feed.rs': 'pub struct Feed;',
                              'src/sink.rs': '#[cfg(test)] mod checks;', 'src/sink/checks.rs': 'use super::super::config::Settings;'},
                             MANIFESTS).headers()
        self.assertEqual(found['tests/it/feed.rs'][0], '// Upstream: tests::it')
        self.assertEqual(found['src/sink/checks.rs'], ('// Upstream: cargo', '// Downstream: config::settings'))


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

    def test_write(self):
        self.assertEqual(headers.rewritten('fn f() {}\n', self.expected),
                         '// Upstream: main\n// Downstream: none\n// Role: \n\nfn f() {}\n')
        old = '// Upstream: a\n// Downstream: b\n// Role: x\n\n//! Doc\n'
        new = headers.rewritten(old, self.expected)
        self.assertEqual(new, '// Upstream: main\n// Downstream: none\n// Role: x\n\n//! Doc\n')
        self.assertEqual(headers.rewritten(new, self.expected), new)


if __name__ == '__main__':
    unittest.main()
