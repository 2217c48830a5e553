// Upstream: services
// Downstream: actors, config
// Role: Decides which sources a changed configuration concerns, and which of them must answer before it is applied.

use std::collections::BTreeSet;

use actors::ports::DataKind;

use crate::config::{SourceName, SourcesSection};

/// What a source is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// The configuration names it first for this kind of data.
    Preferred(DataKind),
    /// It serves this kind of data when others do not, or because `bars` names it.
    Further(DataKind),
    /// Rows of this kind of data are compared with its rows.
    Compared(DataKind),
}

/// A source that a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcernedSource {
    /// The source.
    pub name: SourceName,
    /// Whether it must answer. Without a further source, or one for comparisons, the worker does its work.
    pub must_answer: bool,
}

/// The sources whose settings changed, or that have a new role. Others are not tried: that one of them is down says
/// nothing about the change. `changed` holds the paths of the changed settings.
pub fn concerned(before: &SourcesSection, after: &SourcesSection, changed: &[String]) -> Vec<ConcernedSource> {
    let concern = |name: SourceName| {
        let section = format!("sources.{}.", name.as_str());
        let has_new_settings = changed.iter().any(|path| path.starts_with(&section));
        let roles = roles(after, name);
        let new_roles = if has_new_settings { roles } else { &roles - &self::roles(before, name) };
        let must_answer = new_roles.iter().any(|role| matches!(role, Role::Preferred(_)));
        (!new_roles.is_empty()).then_some(ConcernedSource { name, must_answer })
    };
    after.required().into_iter().filter_map(concern).collect()
}

fn roles(section: &SourcesSection, name: SourceName) -> BTreeSet<Role> {
    let mut roles = BTreeSet::new();
    for kind in DataKind::ALL {
        if section.named(kind).first() == Some(&name) {
            roles.insert(Role::Preferred(kind));
        } else if section.of(kind).contains(&name) {
            roles.insert(Role::Further(kind));
        }
        if section.cross_check.of(kind).contains(&name) {
            roles.insert(Role::Compared(kind));
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;
    use SourceName::{BaoStock, EastMoney, Tushare, Yahoo};

    fn bars(names: &[SourceName]) -> SourcesSection {
        SourcesSection { bars: names.to_vec(), ..SourcesSection::default() }
    }

    fn of(before: &SourcesSection, after: &SourcesSection, changed: &[&str]) -> Vec<(SourceName, bool)> {
        let changed: Vec<String> = changed.iter().map(|path| (*path).to_owned()).collect();
        concerned(before, after, &changed).iter().map(|source| (source.name, source.must_answer)).collect()
    }

    #[test]
    fn only_new_settings_and_roles_concern_a_source() {
        let both = bars(&[Tushare, EastMoney]);
        assert_eq!(of(&both, &both, &["sources.pause_ms"]), []);
        assert_eq!(of(&both, &both, &["sources.tushare.token"]), [(Tushare, true)]);
        assert_eq!(of(&both, &both, &["sources.eastmoney.url"]), [(EastMoney, false)]);
        assert_eq!(of(&both, &both, &["sources.yahoo.url"]), [], "it is not used");
        assert_eq!(of(&bars(&[Tushare]), &both, &["sources.bars"]), [(EastMoney, false)]);
        let swapped = bars(&[EastMoney, Tushare]);
        assert_eq!(of(&both, &swapped, &["sources.bars"]), [(EastMoney, true), (Tushare, false)]);
        assert_eq!(of(&both, &bars(&[EastMoney]), &["sources.bars"]), [(EastMoney, true)]);
    }

    #[test]
    fn source_named_first_for_any_kind_must_answer() {
        let before = bars(&[Tushare, EastMoney]);
        let mut after = before.clone();
        after.factors = vec![BaoStock];
        after.cross_check.bars = vec![Yahoo];
        let changed = ["sources.factors", "sources.cross_check.bars"];
        assert_eq!(of(&before, &after, &changed), [(BaoStock, true), (Yahoo, false)]);
    }
}
