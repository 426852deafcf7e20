//! Which file each URL becomes. All names are chosen before anything is downloaded, so they depend on the order of the
//! URLs and never on which download is quicker.

use std::{collections::HashSet, error::Error, fmt};

#[cfg(test)]
mod tests;

/// A piece that ends in one of these is a file name as it stands, and gets no `.jpg`.
const EXTENSIONS: [&str; 12] =
    ["avif", "bmp", "gif", "heic", "ico", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp"];

/// Most file systems allow 255 bytes; this leaves room for an extension, a number and `.part`.
const STEM_BYTES_MAX: usize = 200;

/// One image to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    pub(crate) url: String,
    /// The name of its file, which no other download of the plan has.
    pub(crate) name: String,
}

/// Why there is no file that a URL could become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadUrl {
    NotHttp,
    NothingToNameItBy,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "bad URL: it starts with neither http:// nor https://",
            Self::NothingToNameItBy => "bad URL: its path has no part to name a file by",
        })
    }
}

impl Error for BadUrl {}

/// What becomes of each URL, in the order given; for a bad one, the URL and what is wrong with it.
pub(crate) fn plan(urls: &[String]) -> Vec<Result<Download, (String, BadUrl)>> {
    let mut taken = HashSet::new();
    let mut plan = Vec::with_capacity(urls.len());
    for url in urls {
        plan.push(match file_name(url) {
            Ok(name) => Ok(Download { url: url.clone(), name: unique(name, &mut taken) }),
            Err(bad) => Err((url.clone(), bad)),
        });
    }
    plan
}

/// Python's `url.split('/')[3]` and `.jpg`, made safe: what a server's address says must not choose a directory.
fn file_name(url: &str) -> Result<String, BadUrl> {
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return Err(BadUrl::NotHttp);
    }
    // A question mark or hash ends the path, and may be followed by slashes that separate nothing.
    let path_end = url.find(['?', '#']).unwrap_or(url.len());
    let piece = url[..path_end].split('/').nth(3).ok_or(BadUrl::NothingToNameItBy)?;
    let name = sanitised(&percent_decoded(piece));

    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && is_image(extension) => (stem, extension),
        _ => (name.as_str(), "jpg"),
    };
    if stem.is_empty() {
        return Err(BadUrl::NothingToNameItBy);
    }
    let stem = &stem[..stem.floor_char_boundary(STEM_BYTES_MAX)];
    Ok(format!("{stem}.{extension}"))
}

/// Letters and digits of any script, `-`, `_` and inner dots stay. So neither `..` nor a hidden file is left, nor a
/// separator of any system, nor a name that Windows would change.
fn sanitised(piece: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    piece.trim().trim_matches('.').chars().map(safe).collect()
}

fn percent_decoded(piece: &str) -> String {
    let mut bytes = Vec::with_capacity(piece.len());
    let mut rest = piece.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) if let Some(byte) = from_hex(*high, *low) => {
                bytes.push(byte);
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn from_hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn is_image(extension: &str) -> bool {
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// The name, or the first of `name-2`, `name-3` and so on that is free.
///
/// Names that differ only in case are one file on some systems, so they count as the same here.
fn unique(name: String, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.to_lowercase()) {
        return name;
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    let mut numbered = (2_u64..).map(|number| format!("{stem}-{number}.{extension}"));
    numbered.find(|name| taken.insert(name.to_lowercase())).unwrap_or(name)
}
