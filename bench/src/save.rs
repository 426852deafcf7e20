//! Writes the report into a document that people write as well, and other benchmarks too.
//!
//! Each benchmark has a section of its own between marks with its name, and a plot of its own.

use std::{fs, io, path::Path};

/// The name of the document in its folder.
const DOCUMENT: &str = "performance.md";

/// Where the document looks for the plot of the benchmark `name`: beside it.
pub(crate) fn plot(name: &str) -> String {
    format!("performance-{name}.svg")
}

/// Puts `section` between the marks of `name` in the document in `folder`, and the plot beside it.
pub(crate) fn save(folder: &Path, name: &str, section: &str, picture: &str) -> io::Result<()> {
    let path = folder.join(DOCUMENT);
    let document = match fs::read_to_string(&path) {
        Ok(document) => document,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "# Performance\n".to_owned(),
        Err(error) => return Err(error),
    };
    let document = splice(&document, name, section).ok_or_else(|| {
        let (begin, end) = marks(name);
        let complaint =
            format!("{DOCUMENT} has one of the marks {begin} and {end} without the other");
        io::Error::new(io::ErrorKind::InvalidData, complaint)
    })?;
    fs::write(path, document)?;
    fs::write(folder.join(plot(name)), picture)
}

/// What stands before and after the section of `name`.
fn marks(name: &str) -> (String, String) {
    (format!("<!-- bench {name} -->"), format!("<!-- /bench {name} -->"))
}

/// Replaces what is between the marks; without marks, they come to the end. `None` if only one of them is there.
fn splice(document: &str, name: &str, section: &str) -> Option<String> {
    let (begin, end) = marks(name);
    let section = format!("{begin}\n\n{}\n\n{end}", section.trim());
    if !document.contains(&begin) && !document.contains(&end) {
        return Some(format!("{}\n\n{section}\n", document.trim_end()));
    }
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{section}{after}"))
}

#[cfg(test)]
mod tests {
    //! What people wrote around the marks stays, and so does what other benchmarks wrote.

    use super::{marks, splice};

    #[test]
    fn only_the_section_changes() {
        let (begin, end) = marks("x");
        let document = format!("# A\n\n{begin}\nold\n{end}\n\nb\n");
        let replaced = format!("# A\n\n{begin}\n\nnew\n\n{end}\n\nb\n");
        assert_eq!(splice(&document, "x", "new\n"), Some(replaced.clone()));
        assert_eq!(splice(&replaced, "x", "new\n"), Some(replaced));
    }

    #[test]
    fn marks_are_added_and_never_guessed() {
        let (begin, end) = marks("x");
        let added = format!("# A\n\n{begin}\n\ny\n\n{end}\n");
        assert_eq!(splice("# A\n", "x", "y"), Some(added));
        assert_eq!(splice(&begin, "x", "y"), None);
        assert_eq!(splice(&end, "x", "y"), None);
    }

    #[test]
    fn sections_leave_each_other_alone() {
        let both = |x: &str, y: &str| {
            let document = splice("# A\n", "x", x)?;
            splice(&document, "y", y)
        };
        let document = both("1", "2").expect("marks are added");
        assert_eq!(splice(&document, "x", "3"), both("3", "2"));
        assert_eq!(splice(&document, "y", "3"), both("1", "3"));
    }
}
