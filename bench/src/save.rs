//! Writes the report into a document that people write as well.

use std::{fs, io, path::Path};

const BEGIN: &str = "<!-- bench threads -->";
const END: &str = "<!-- /bench threads -->";

/// The name of the document in its folder.
const DOCUMENT: &str = "performance.md";

/// Where the document looks for the plot: beside it.
pub(crate) const PLOT: &str = "performance-threads.svg";

/// Puts `section` between the marks of the document in `folder`, and the plot beside it.
pub(crate) fn save(folder: &Path, section: &str, plot: &str) -> io::Result<()> {
    let path = folder.join(DOCUMENT);
    let document = match fs::read_to_string(&path) {
        Ok(document) => document,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "# Performance\n".to_owned(),
        Err(error) => return Err(error),
    };
    let document = splice(&document, section).ok_or_else(|| {
        let complaint =
            format!("{DOCUMENT} has one of the marks {BEGIN} and {END} without the other");
        io::Error::new(io::ErrorKind::InvalidData, complaint)
    })?;
    fs::write(path, document)?;
    fs::write(folder.join(PLOT), plot)
}

/// Replaces what is between the marks; without marks, they come to the end. `None` if only one of them is there.
fn splice(document: &str, section: &str) -> Option<String> {
    let section = format!("{BEGIN}\n\n{}\n\n{END}", section.trim());
    if !document.contains(BEGIN) && !document.contains(END) {
        return Some(format!("{}\n\n{section}\n", document.trim_end()));
    }
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{section}{after}"))
}

#[cfg(test)]
mod tests {
    //! What people wrote around the marks stays.

    use super::{BEGIN, END, splice};

    #[test]
    fn only_the_section_changes() {
        let document = format!("# A\n\n{BEGIN}\nold\n{END}\n\nb\n");
        let replaced = format!("# A\n\n{BEGIN}\n\nnew\n\n{END}\n\nb\n");
        assert_eq!(splice(&document, "new\n"), Some(replaced.clone()));
        assert_eq!(splice(&replaced, "new\n"), Some(replaced));
    }

    #[test]
    fn marks_are_added_and_never_guessed() {
        assert_eq!(splice("# A\n", "x"), Some(format!("# A\n\n{BEGIN}\n\nx\n\n{END}\n")));
        assert_eq!(splice(BEGIN, "x"), None);
        assert_eq!(splice(END, "x"), None);
    }
}
