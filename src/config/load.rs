//! Gathers options: defaults, then the file, then the environment, then flags.
//!
//! Used by `cli`. The only place that reads the process's environment ([`environment`]); all else
//! gets what it needs as arguments.
//!
//! # Invariants
//! - L1 A name that no option has is an error with the nearest name, wherever it stands.
//! - L2 The result depends on the arguments and the named file and on nothing else.
//!
//! # Not here
//! What a value may be (`options`, `validate`), the seed's variables (`seed`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use toml::de::{DeTable, DeValue};

use super::Config;
use super::options::{Kind, OPTIONS, OptionRow};
use super::seed;
use super::validate::{self, ConfigError, Found};

const PREFIX: &str = "BITACORA_";
const CONFIG: &str = "config";
const CONFIG_VARIABLE: &str = "BITACORA_CONFIG";
/// Names with our prefix that are not options of a node: the file's place, and where the command
/// line finds a cluster. A container often sets both for its server and its probe.
const OTHER_VARIABLES: &[&str] = &[CONFIG_VARIABLE, "BITACORA_URL"];

/// The flags of `bitacora serve`, made from the table of options; for `#[command(flatten)]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServeArgs {
    config: Option<PathBuf>,
    values: BTreeMap<&'static str, String>,
}

impl ServeArgs {
    /// Sets an option as its flag would, over what was there. An unknown name changes nothing.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Some(row) = OPTIONS.iter().find(|row| row.name == name) {
            self.values.insert(row.name, value.to_owned());
        }
        self
    }
}

impl Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!("A TOML file with any of these options [env: {CONFIG_VARIABLE}]"));
        OPTIONS.iter().fold(command.arg(config), |command, row| command.arg(flag(row)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(row: &'static OptionRow) -> Arg {
    let default = row.default.trim_matches('"');
    let shown = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
    Arg::new(row.name).long(row.flag).value_name(row.shape()).help(format!(
        "{}{shown} [env: {}]",
        row.doc,
        row.variable()
    ))
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(path) = matches.get_one::<PathBuf>(CONFIG) {
            self.config = Some(path.clone());
        }
        for row in OPTIONS {
            if let Some(value) = matches.get_one::<String>(row.name) {
                self.values.insert(row.name, value.clone());
            }
        }
        Ok(())
    }
}

/// The environment of this process.
pub fn environment() -> Vec<(String, String)> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

/// A node's configuration from its flags, the given environment and the file that they name.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(
    args: &ServeArgs,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let mut found = Found::default();
    let named = environment.get(CONFIG_VARIABLE).map(PathBuf::from);
    if let Some(path) = args.config.clone().or(named) {
        read_file(&path, &mut found);
    }
    seed::gather(&environment, &mut found);
    gather_environment(&environment, &mut found);
    for row in OPTIONS {
        if let Some(value) = args.values.get(row.name) {
            found.set(row.name, &format!("flag --{}", row.flag), value);
        }
    }
    validate::build(found)
}

fn read_file(path: &Path, found: &mut Found) {
    match std::fs::read_to_string(path) {
        Ok(text) => gather_file(path, &text, found),
        Err(error) => {
            let place = format!("file {}", path.display());
            found.refuse(place, format!("expected a readable TOML file, found: {error}"));
        }
    }
}

fn gather_file(path: &Path, text: &str, found: &mut Found) {
    let file = path.display();
    let line_of =
        |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = line_of(error.span().map_or(0, |span| span.start));
            found.refuse(format!("file {file} line {line}"), error.message());
            return;
        }
    };
    for (key, value) in table {
        let name: &str = key.as_ref();
        let place = format!("file {file} line {}, {name}", line_of(key.span().start));
        match OPTIONS.iter().find(|row| row.name == name) {
            None => found.refuse(place, unknown_key(name)),
            Some(row) => match file_value(row, value.as_ref()) {
                Ok(text) => found.set(row.name, &place, text),
                Err(problem) => found.refuse(place, problem),
            },
        }
    }
}

fn unknown_key(name: &str) -> String {
    if name == CONFIG {
        return format!("a file cannot name another file; use --config or {CONFIG_VARIABLE}");
    }
    let names = OPTIONS.iter().map(|row| row.name.to_owned());
    format!("no option has this name{}", suggestion(name, names))
}

/// The value as text: numbers are written bare, texts in quotes.
fn file_value(row: &OptionRow, value: &DeValue<'_>) -> Result<String, String> {
    match (&row.kind, value) {
        (Kind::Text { .. }, DeValue::String(text)) => Ok(text.to_string()),
        (Kind::Number { .. }, DeValue::Integer(number)) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            Ok(parsed.map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()))
        }
        (Kind::Text { shape, .. }, other) => {
            Err(format!("expected a text in quotes ({shape}), found {}", other.type_str()))
        }
        (Kind::Number { unit, .. }, other) => {
            Err(format!("expected a whole number of {unit}, found {}", other.type_str()))
        }
    }
}

fn gather_environment(environment: &BTreeMap<String, String>, found: &mut Found) {
    for (variable, value) in environment {
        let other = OTHER_VARIABLES.contains(&variable.as_str()) || of_a_service(variable, value);
        if !variable.starts_with(PREFIX) || other {
            continue;
        }
        let place = format!("environment {variable}");
        if let Some(row) = OPTIONS.iter().find(|row| row.variable() == *variable) {
            found.set(row.name, &place, value);
            continue;
        }
        let suggestion = suggestion(variable, OPTIONS.iter().map(OptionRow::variable));
        found.refuse(place, format!("no option has this name{suggestion}"));
    }
}

/// Kubernetes and Docker put variables like `BITACORA_PORT_5000_TCP_ADDR` and
/// `BITACORA_SERVICE_HOST` into every container beside a service named `bitacora…`. Not options.
fn of_a_service(variable: &str, value: &str) -> bool {
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| variable.ends_with(suffix));
    let address = value.starts_with("tcp://") || value.starts_with("udp://");
    let protocol = variable.contains("_TCP_") || variable.contains("_UDP_");
    (address && ends(&["_PORT", "_TCP", "_UDP"]))
        || (protocol && ends(&["_ADDR", "_PORT", "_PROTO"]))
        || variable.contains("_SERVICE_PORT")
        || ends(&["_SERVICE_HOST"])
}

/// `; did you mean …?` if a known name is near.
fn suggestion(unknown: &str, known: impl Iterator<Item = String>) -> String {
    let nearest = known.map(|name| (distance(unknown, &name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= 2 + unknown.len() / 4 => {
            format!("; did you mean {name}?")
        }
        _ => String::new(),
    }
}

/// How many letters must be put in, left out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut diagonal = place;
        let mut left = place + 1;
        let mut next = vec![left];
        for (above, against) in row.iter().skip(1).zip(other.chars()) {
            left = (diagonal + usize::from(letter != against)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
