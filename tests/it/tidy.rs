//! The sources keep their shape: imports point one way, the core is pure, and files stay readable.

use std::path::{Path, PathBuf};

/// Modules from the innermost to the outermost; those of one rank do not know each other. What is not listed is free to be used.
const RANKS: [&[&str]; 7] =
    [&["protocol"], &["rooms"], &["store", "broker", "auth"], &["worker"], &["http"], &["server", "import"], &["main"]];

/// The rank of `rooms`, the outermost of the pure modules.
const PUREST: usize = 1;

/// What would make a pure module depend on the world around it.
const IMPURE: [&str; 8] = [
    "tokio",
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime::now",
    "Instant::now",
    "std::net",
    "std::thread",
    "rand::",
];

/// Past this a file is two ideas,
const MAX_FILE_LINES: usize = 500;
/// and a function is more than a screen.
const MAX_FUNCTION_LINES: usize = 70;
/// What may stand before `fn`, beside visibilities.
const QUALIFIERS: [&str; 2] = ["async", "const"];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
    /// The code without comments, strings of one line kept.
    code: String,
    lines: usize,
}

/// The sources of the server.
fn sources() -> Vec<Source> {
    sources_below("src")
}

/// The Rust sources in a directory of the repository.
fn sources_below(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files = crate::support::server::files_below(&root);
    files.sort();
    files.retain(|file| file.extension().is_some_and(|e| e == "rs"));
    assert!(!files.is_empty(), "there are sources to look at in {directory}");
    files.into_iter().map(|path| read(&root, path)).collect()
}

fn read(root: &Path, path: PathBuf) -> Source {
    let text = std::fs::read_to_string(&path).expect("a source can be read");
    let relative = path.strip_prefix(root).expect("below src");
    let first = relative.iter().next().expect("a file").to_string_lossy();
    let module = first.trim_end_matches(".rs").to_owned();
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    Source { module, code: code.join("\n"), lines: text.lines().count(), path, text }
}

/// The modules that a source names after `crate::`, also in `use crate::{a, b::c};`.
fn crate_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(top_level_names(group)),
            None => found.push(path_prefix(rest)),
        }
    }
    found
}

/// A path as far as it is made of names: `store::sqlite::Sqlite` of `store::sqlite::Sqlite;`.
fn path_prefix(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect()
}

/// The paths of a braced group, up to the brace that ends it.
fn top_level_names(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(path_prefix(group[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(path_prefix(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|modules| modules.contains(&module))
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = rank(&source.module) else { continue };
        for path in crate_paths(&source.code) {
            let target = path.split("::").next().unwrap_or_default();
            if target == source.module || target.is_empty() {
                continue;
            }
            // The pure ones may know nothing but what is listed further in, not even what everybody else is free to use.
            let other = rank(target).unwrap_or(if own <= PUREST { usize::MAX } else { 0 });
            if other >= own {
                wrong.push(format!("{} imports crate::{path}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the direction {RANKS:?}: {wrong:#?}");
}

#[test]
fn concrete_stores_and_brokers_are_named_where_they_are_chosen_only() {
    let concrete = ["store::sqlite", "store::memory", "store::postgres", "broker::nats"];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !["server", "import", "store", "broker"].contains(&s.module.as_str())) {
        // Unit tests come last in a file and may take the store that keeps nothing.
        let code = source.code.split("#[cfg(test)]").next().unwrap_or_default();
        let mut paths = crate_paths(code);
        paths.extend(code.match_indices("parlor::").map(|(at, m)| path_prefix(&code[at + m.len()..])));
        for path in paths.iter().filter(|p| concrete.iter().any(|c| p.starts_with(c))) {
            wrong.push(format!("{} names {path}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_core_knows_no_runtime_no_clock_no_network_and_no_chance() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| ["protocol", "rooms"].contains(&s.module.as_str())) {
        for impure in IMPURE {
            if source.code.contains(impure) {
                wrong.push(format!("{} mentions {impure}", source.path.display()));
            }
        }
        for line in source.code.lines().filter(|line| line.contains("std::time::")) {
            if line.contains("Instant") || line.contains("SystemTime") {
                wrong.push(format!("{}: {line}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the limits on length hold for: all sources but the integration tests.
fn measured() -> Vec<Source> {
    ["src", "loadgen/src", "loadgen/tests", "benches"].into_iter().flat_map(sources_below).collect()
}

#[test]
fn no_file_is_two_ideas_long() {
    let long: Vec<String> =
        measured().iter().filter(|s| s.lines > MAX_FILE_LINES).map(|s| s.path.display().to_string()).collect();
    assert!(long.is_empty(), "over {MAX_FILE_LINES} lines: {long:#?}");
}

#[test]
fn functions_fit_a_screen() {
    let mut long = Vec::new();
    for source in measured() {
        for (name, lines) in functions(&source.text).into_iter().filter(|(_, lines)| *lines > MAX_FUNCTION_LINES) {
            long.push(format!("{}: {name} has {lines} lines", source.path.display()));
        }
    }
    assert!(long.is_empty(), "over {MAX_FUNCTION_LINES} lines: {long:#?}");
}

/// Functions by name, with their lines from `fn` to the brace that ends them. rustfmt puts that brace below the beginning of the line
/// where the function begins, so nothing needs to be parsed.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words: Vec<&str> = code.split(' ').collect();
        let Some(place) = words.iter().position(|word| *word == "fn") else { continue };
        let only_qualifiers = words[..place].iter().all(|word| QUALIFIERS.contains(word) || word.starts_with("pub"));
        if !only_qualifiers || place + 1 == words.len() || line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        let brace = format!("{}}}", &line[..line.len() - code.len()]);
        let Some(end) = lines[at..].iter().position(|later| *later == brace) else { continue };
        let name = words[place + 1].split(['(', '<']).next().unwrap_or_default();
        found.push((name.to_owned(), end + 1));
    }
    found
}

#[test]
fn functions_are_measured_from_their_first_line_to_their_last() {
    let text = "pub(crate) const fn one() -> u8 {\n    1\n}\n\nimpl A {\n    async fn two<T>(\n        a: T,\n    ) {\n        {\n        }\n    }\n}\n\
                // no fn here\nfn in_a_line() {}\ntrait B {\n    fn three();\n}\n";
    assert_eq!(functions(text), [("one".to_owned(), 3), ("two".to_owned(), 6)]);
}

#[test]
fn the_reader_of_imports_reads_what_it_should() {
    let code = "use crate::{protocol::{Seq, UserId}, store::sqlite::Sqlite, auth};\nfn f() { crate::worker::run() }\n$crate::x";
    assert_eq!(crate_paths(code), ["protocol::", "store::sqlite::Sqlite", "auth", "worker::run"]);
}
