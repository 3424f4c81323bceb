//! What people and scripts see. The only file that writes to stdout and stderr.
//!
//! A reader that goes away (`bitacora list | head`) is no error: what is left is dropped.
//!
//! # Not here
//! What is said; each verb knows that.

use std::io::Write;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: JSON, one document or one line an item.
    Json,
}

/// Writes text and a line end to stdout. `false`: nobody reads any more.
pub fn line(text: &str) -> bool {
    raw(format!("{text}\n").as_bytes())
}

/// Writes bytes to stdout as they are. `false`: nobody reads any more.
pub fn raw(bytes: &[u8]) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).is_ok()
}

/// Writes a line to stderr: what is not the answer itself.
pub fn note(text: &str) {
    // Nobody is left to be told when this fails.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Lines up columns under their names; the last line has no line end.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|name| name.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut lines = vec![table_line(head.iter().copied(), &widths)];
    lines.extend(rows.iter().map(|row| table_line(row.iter().map(String::as_str), &widths)));
    lines.join("\n")
}

fn table_line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let padded: Vec<String> =
        cells.zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

/// Makes text safe for a terminal and at most `max` characters long.
pub fn shown(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == max {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A number or, where there is none, a dash.
pub fn or_dash<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A moment as `2026-01-31 23:59:59Z`, from milliseconds since 1970.
pub fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (year, month, day) = date_of(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02} {}Z", time_of_day(unix_ms))
}

/// The time of day as `23:59:59` in UTC, from milliseconds since 1970.
pub fn time_of_day(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day of a day counted from 1970, by the Gregorian calendar: years begin in March,
/// so that the leap day is a year's last.
fn date_of(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_its_columns_and_has_no_trailing_spaces() {
        let rows = [vec!["node1".into(), "leader".into()], vec!["n".into(), "follower".into()]];
        let expected = "NODE   ROLE\nnode1  leader\nn      follower";
        assert_eq!(table(&["NODE", "ROLE"], &rows), expected);
    }

    #[test]
    fn shown_text_moves_no_cursor_and_says_that_it_was_cut() {
        assert_eq!(shown("a\x1b[2Jb\n", 20), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown("ñandú", 3), "ñan…");
        assert_eq!(shown("ñan", 3), "ñan");
    }

    #[test]
    fn moments_are_shown_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(utc(1_767_225_599_999), "2025-12-31 23:59:59Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01 00:00:00Z");
    }
}
