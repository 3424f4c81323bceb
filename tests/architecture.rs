//! The shape of the source: which module may know which, where the outside comes in, sizes, map.
//!
//! Reads `src/` as text. A new file needs a line in ARCHITECTURE.md; a new outside thing needs a
//! door in [`DOORS`]; an import upwards needs another design.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What a module may know, itself aside. `main` and `lib` know everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("command", &["types"]),
    ("config", &["types"]),
    ("os", &["types"]),
    ("telemetry", &["types", "config", "os"]),
    ("tasks", &["types", "telemetry"]),
    ("wal", &["types", "os", "telemetry"]),
    ("state", &["types", "command"]),
    ("peer", &["types", "os", "telemetry", "tasks"]),
    (
        "consensus",
        &["types", "command", "config", "os", "telemetry", "tasks", "wal", "state", "peer"],
    ),
    ("store", &["types", "command", "config", "os", "telemetry", "tasks", "state", "consensus"]),
    // `os` for the clock, `peer` because messages between nodes come in over HTTP too.
    ("api", &["types", "command", "config", "os", "telemetry", "tasks", "peer", "store"]),
    (
        "node",
        &[
            "types",
            "command",
            "config",
            "os",
            "telemetry",
            "tasks",
            "wal",
            "state",
            "peer",
            "consensus",
            "store",
            "api",
        ],
    ),
    (
        "cli",
        &[
            "types",
            "command",
            "config",
            "os",
            "telemetry",
            "tasks",
            "wal",
            "state",
            "consensus",
            "store",
            "api",
            "node",
        ],
    ),
];

/// A foreign name may appear only in files whose path begins with one of these.
const DOORS: &[(&str, &[&str])] = &[
    ("openraft", &["consensus/"]),
    ("axum", &["api/", "peer/server.rs", "node.rs", "node/"]),
    ("hyper", &["api/serve.rs"]),
    ("hyper_util", &["api/serve.rs"]),
    ("reqwest", &["peer/", "store/forward.rs", "cli/client.rs"]),
    ("std::fs", &["os/disk.rs", "os/process.rs", "config/load.rs", "cli/"]),
    ("std::env", &["config/load.rs", "cli/"]),
    ("std::process::exit", &["main.rs"]),
    ("SystemTime::now", &["os/clock.rs"]),
    ("std::time::Instant", &["os/clock.rs"]),
    ("std::thread", &["wal/", "telemetry/diagnostics.rs", "os/fake.rs", "tasks.rs"]),
    ("rand", &["os/"]),
    ("tokio::spawn", &["tasks.rs"]),
    ("task::spawn_blocking", &["tasks.rs"]),
    ("task::spawn_local", &["tasks.rs"]),
    ("metrics_exporter_prometheus", &["telemetry/recorder.rs"]),
    // Our own module of this name is always reached through `super` or `crate`.
    ("use metrics::", &["telemetry/recorder.rs"]),
    ("opentelemetry", &["telemetry/traces/"]),
    ("tracing_subscriber", &["telemetry/diagnostics.rs"]),
    ("clap", &["cli/", "config/load.rs", "main.rs"]),
    ("toml", &["config/load.rs"]),
    ("imbl", &["state/kv.rs"]),
    ("println!", &["cli/"]),
    ("eprintln!", &["cli/", "main.rs"]),
];

/// A word that may not appear in any file whose path begins so.
const BANNED: &[(&str, &[&str])] = &[
    (
        "state/",
        &[
            "async",
            "tokio",
            "tracing",
            "HashMap",
            "HashSet",
            "f32",
            "f64",
            "Instant",
            "SystemTime",
            "std::thread",
            "std::net",
            "rand",
        ],
    ),
    ("command", &["async", "tokio", "tracing", "HashMap", "HashSet", "serde"]),
    ("wal/", &["async", "tokio", "openraft", "Command", "Proposal"]),
    ("api/", &["openraft", "wal"]),
    ("", &["todo!", "unimplemented!", "dbg!"]),
];

/// Marks of unfinished work, also in comments. In two parts, so that this file has none.
const MARKS: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

struct Source {
    /// Path below `src/`.
    path: String,
    text: String,
    /// The text with comments, texts in quotes and inline tests blanked out, line by line.
    code: String,
}

impl Source {
    /// The first part of its module path: `wal` of `wal/format.rs`, `tasks` of `tasks.rs`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Tests in files of their own are no part of the shape of the product.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(Path::new("src"), &mut paths);
    paths.sort();
    let read = |path: String| {
        let text = fs::read_to_string(format!("src/{path}")).unwrap();
        let code = without_inline_tests(&blanked(&text));
        Source { path, text, code }
    };
    paths.into_iter().map(read).collect()
}

fn collect(dir: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path.strip_prefix("src").unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn check(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// The end of the text in quotes that begins at `start`, just behind its last quote.
fn end_of_quoted(text: &[char], start: usize) -> usize {
    let mut place = start + 1;
    while let Some(letter) = text.get(place) {
        match letter {
            '\\' => place += 2,
            '"' => return place + 1,
            _ => place += 1,
        }
    }
    text.len()
}

/// The end of a raw text like `r#"…"#` if one begins at `start`.
fn end_of_raw(text: &[char], start: usize) -> Option<usize> {
    let before = start.checked_sub(1).and_then(|before| text.get(before));
    if before.is_some_and(|letter| letter.is_alphanumeric() && *letter != 'b') {
        return None;
    }
    let hashes = text.get(start + 1..)?.iter().take_while(|letter| **letter == '#').count();
    let open = start + 1 + hashes;
    if text.get(start) != Some(&'r') || text.get(open) != Some(&'"') {
        return None;
    }
    let closing = |place: &usize| {
        let tail = text.get(place + 1..place + 1 + hashes);
        text.get(*place) == Some(&'"') && tail.is_some_and(|tail| tail.iter().all(|c| *c == '#'))
    };
    let close = (open + 1..text.len()).find(closing)?;
    Some(close + 1 + hashes)
}

/// The end of a letter in quotes; `None` for a lifetime.
fn end_of_letter(text: &[char], start: usize) -> Option<usize> {
    match (text.get(start + 1)?, text.get(start + 2)?) {
        ('\\', _) => {
            (start + 3..text.len()).find(|place| text.get(*place) == Some(&'\'')).map(|end| end + 1)
        }
        (_, '\'') => Some(start + 3),
        _ => None,
    }
}

/// The text with comments and quoted texts as spaces; lines stay where they are.
fn blanked(text: &str) -> String {
    let text: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut place = 0;
    while let Some(&letter) = text.get(place) {
        let line_end = || (place..text.len()).find(|at| text.get(*at) == Some(&'\n'));
        let end = match (letter, text.get(place + 1)) {
            ('/', Some('/')) => Some(line_end().unwrap_or(text.len())),
            ('"', _) => Some(end_of_quoted(&text, place)),
            ('r', Some('"' | '#')) => end_of_raw(&text, place),
            ('\'', _) => end_of_letter(&text, place),
            _ => None,
        };
        let end = end.unwrap_or(place + 1).min(text.len());
        let hidden = end > place + 1 || letter == '"';
        let kept = text.iter().take(end).skip(place);
        out.extend(kept.map(|&c| if hidden && c != '\n' { ' ' } else { c }));
        place = end;
    }
    out
}

/// The code before `#[cfg(test)] mod …` at its end; such a module is the last thing in a file.
fn without_inline_tests(code: &str) -> String {
    let mut kept: Vec<&str> = code.lines().collect();
    let is_mark = |line: &&str| line.trim_start().starts_with("#[cfg(test)]");
    let cut = kept.iter().enumerate().position(|(number, line)| {
        let next = kept.get(number + 1).is_some_and(|next| next.trim_start().starts_with("mod "));
        is_mark(line) && next
    });
    kept.truncate(cut.unwrap_or(kept.len()));
    kept.join("\n")
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Lines (from 1) on which a path or word stands by itself.
fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let stands_alone = |line: &str| {
        line.match_indices(word).any(|(start, _)| {
            let before = line.get(..start).and_then(|before| before.chars().next_back());
            let after = line.get(start + word.len()..).and_then(|after| after.chars().next());
            let glued_before = word.starts_with(is_word) && before.is_some_and(is_word);
            let glued_after = word.ends_with(is_word) && after.is_some_and(is_word);
            !glued_before && !glued_after
        })
    };
    let lines = code.lines().enumerate().filter(|(_, line)| stands_alone(line));
    lines.map(|(number, _)| number + 1).collect()
}

/// Names behind each `crate::` or in its braces, with their line.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, mark) in code.match_indices("crate::") {
        if code.get(..start).unwrap_or_default().ends_with(is_word) {
            continue;
        }
        let line = code.get(..start).unwrap_or_default().matches('\n').count() + 1;
        let rest = code.get(start + mark.len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            Some(braces) => found.extend(names_in_braces(braces).into_iter().map(|n| (line, n))),
            None => found.push((line, leading_word(rest))),
        }
    }
    found
}

fn leading_word(text: &str) -> String {
    text.chars().take_while(|letter| is_word(*letter)).collect()
}

/// The first part of every path in `{a::b, c::{d, e}}`, given what follows the first brace.
fn names_in_braces(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 1_usize;
    let mut at_start = true;
    for (place, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => at_start = true,
            letter if at_start && is_word(letter) => {
                names.push(leading_word(text.get(place..).unwrap_or_default()));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn imports_go_downward_only() {
    let mut problems = Vec::new();
    for source in sources() {
        let module = source.module();
        if module == "main" || module == "lib" || source.is_test() {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            problems.push(format!("src/{}: module {module} is not in MAY_IMPORT", source.path));
            continue;
        };
        for (line, name) in imports(&source.code) {
            let known = MAY_IMPORT.iter().any(|(module, _)| *module == name);
            if known && name != module && !allowed.contains(&name.as_str()) {
                problems.push(format!(
                    "src/{}:{line}: {module} must not know {name}; it may know {}",
                    source.path,
                    allowed.join(", ")
                ));
            }
        }
    }
    check(&problems);
}

#[test]
fn the_import_table_has_no_cycle() {
    for (place, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for name in *allowed {
            let below = MAY_IMPORT.iter().take(place).any(|(module, _)| module == name);
            assert!(below, "{module} may know {name}, which does not stand above it in the table");
        }
    }
}

#[test]
fn every_outside_thing_has_its_doors() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (name, doors) in DOORS {
            if doors.iter().any(|door| source.path.starts_with(door)) {
                continue;
            }
            for line in lines_with(&source.code, name) {
                let doors = doors.join(", ");
                problems.push(format!("src/{}:{line}: {name} belongs in {doors}", source.path));
            }
        }
    }
    check(&problems);
}

#[test]
fn banned_words_stay_out() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let rules = BANNED.iter().filter(|(place, _)| source.path.starts_with(place));
        for (place, word) in rules.flat_map(|(place, words)| words.iter().map(move |w| (place, w)))
        {
            for line in lines_with(&source.code, word) {
                problems.push(format!("src/{}:{line}: no {word} in {place}", source.path));
            }
        }
        for (one, other) in MARKS {
            let mark = format!("{one}{other}");
            for line in lines_with(&source.text, &mark) {
                problems.push(format!("src/{}:{line}: {mark}: do it or drop it", source.path));
            }
        }
    }
    check(&problems);
}

#[test]
fn a_file_begins_with_its_purpose_and_is_small_enough_to_read() {
    let mut problems = Vec::new();
    for source in sources() {
        let path = &source.path;
        if !source.text.starts_with("//! ") {
            problems.push(format!("src/{path}:1: expected //! and what the file is for"));
        }
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > FILE_LINES_MAX && !source.is_test() {
            problems.push(format!("src/{path}: {lines} lines of code, at most {FILE_LINES_MAX}"));
        }
        for (number, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                let line = number + 1;
                problems
                    .push(format!("src/{path}:{line}: {columns} columns, at most {COLUMNS_MAX}"));
            }
        }
    }
    check(&problems);
}

#[test]
fn a_function_fits_on_a_screen() {
    let mut problems = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.code.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start();
            if !head.starts_with("fn ") && !head.contains(" fn ") {
                continue;
            }
            let body = lines.iter().skip(start).find(|line| line.contains(['{', ';']));
            if body.is_none_or(|line| !line.contains('{')) {
                continue; // Declared in a trait, without a body.
            }
            // rustfmt puts the closing brace of a function under the start of its head.
            let end = lines.iter().skip(start).position(|line| {
                line.trim_end().ends_with('}') && line.len() - line.trim_start().len() == indent
            });
            let length = end.map_or(0, |end| end + 1);
            if length > FUNCTION_LINES_MAX {
                let (path, line) = (&source.path, start + 1);
                problems.push(format!(
                    "src/{path}:{line}: a function of {length} lines, at most {FUNCTION_LINES_MAX}"
                ));
            }
        }
    }
    check(&problems);
}

#[test]
fn the_map_names_every_file_and_every_file_is_on_the_map() {
    let map = fs::read_to_string("ARCHITECTURE.md").unwrap_or_default();
    // A file is named as `src/…` in backquotes.
    let is_rust = |word: &str| Path::new(word).extension().is_some_and(|end| end == "rs");
    let named: BTreeSet<&str> =
        map.split('`').filter(|word| word.starts_with("src/") && is_rust(word)).collect();
    let paths: Vec<String> =
        sources().iter().map(|source| format!("src/{}", source.path)).collect();
    let there: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let mut problem = String::new();
    for path in there.difference(&named) {
        let _ = writeln!(problem, "{path} is not named in ARCHITECTURE.md");
    }
    for path in named.difference(&there) {
        let _ = writeln!(problem, "ARCHITECTURE.md names {path}, which is not there");
    }
    assert!(problem.is_empty(), "\n{problem}");
}

#[test]
fn this_test_sees_what_it_should_see() {
    let code = "use crate::{wal::{A, b::C}, state as s};\nlet x = crate::peer::y();\n// crate::no";
    let names: Vec<_> = imports(&blanked(code)).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["wal", "state", "peer"]);
    let hidden =
        "let s = \"tokio \\\" tokio\"; // tokio\nlet r = r#\"tokio\"#; let c = '\"'; tokio::x";
    assert_eq!(lines_with(&blanked(hidden), "tokio"), [2]);
    assert_eq!(blanked("let c: &'a str = 'x';").trim(), "let c: &'a str =    ;");
    assert_eq!(lines_with("operand\nrand::x\nuse rand;", "rand"), [2, 3]);
    let tested = "fn a() {}\n#[cfg(test)]\nmod tests {\n tokio\n}";
    assert_eq!(without_inline_tests(tested), "fn a() {}");
    let problem = std::panic::catch_unwind(|| check(&["a: b".to_owned()])).unwrap_err();
    assert!(problem.downcast_ref::<String>().unwrap_or_else(|| panic!("a text")).contains("a: b"));
}
