//! Which names URLs lead to, above all those that were made to lead somewhere else.

use super::*;

fn names(urls: &[&str]) -> Vec<Result<String, BadUrl>> {
    let urls: Vec<_> = urls.iter().map(ToString::to_string).collect();
    let plan = plan(&urls);
    let planned = plan.into_iter().zip(&urls);
    planned
        .map(|(planned, url)| match planned {
            Ok(download) => {
                assert_eq!(&download.url, url, "a plan changes no URL");
                Ok(download.name)
            }
            Err((bad, why)) => {
                assert_eq!(&bad, url, "a plan changes no URL");
                Err(why)
            }
        })
        .collect()
}

fn name(url: &str) -> Result<String, BadUrl> {
    names(&[url]).remove(0)
}

#[test]
fn the_fourth_piece_names_the_file() {
    for (url, expected) in [
        (
            "https://images.unsplash.com/photo-1516117172878-fd2c41f4a759",
            "photo-1516117172878-fd2c41f4a759.jpg",
        ),
        ("http://host/cat", "cat.jpg"),
        ("http://host:8080/cat", "cat.jpg"),
        ("HTTPS://HOST/cat", "cat.jpg"),
        ("http://host/animals/cat", "animals.jpg"),
        ("http://host/cat/", "cat.jpg"),
    ] {
        assert_eq!(name(url).as_deref(), Ok(expected), "{url}");
    }
}

#[test]
fn an_image_extension_is_kept() {
    for (url, expected) in [
        ("http://host/cat.png", "cat.png"),
        ("http://host/cat.JPEG", "cat.JPEG"),
        ("http://host/cat.html", "cat.html.jpg"),
        ("http://host/v1.2", "v1.2.jpg"),
        ("http://host/cat.png.exe", "cat.png.exe.jpg"),
        // Nothing is left in front of a dot that was dropped, so this is a name and no extension.
        ("http://host/.png", "png.jpg"),
    ] {
        assert_eq!(name(url).as_deref(), Ok(expected), "{url}");
    }
}

#[test]
fn queries_and_fragments_are_no_part_of_it() {
    for url in [
        "http://host/cat?size=9",
        "http://host/cat?from=http://other/dog",
        "http://host/cat#tail",
        "http://host/cat?a#b?c",
    ] {
        assert_eq!(name(url).as_deref(), Ok("cat.jpg"), "{url}");
    }
}

#[test]
fn percent_encoding_is_undone() {
    for (url, expected) in [
        ("http://host/k%C3%A4tzchen", "kätzchen.jpg"),
        ("http://host/k%c3%a4tzchen", "kätzchen.jpg"),
        ("http://host/cat%2Epng", "cat.png"),
        ("http://host/two%20cats", "two_cats.jpg"),
        ("http://host/100%", "100_.jpg"),
        ("http://host/100%4", "100_4.jpg"),
        ("http://host/100%zz", "100_zz.jpg"),
        ("http://host/a%+1b", "a__1b.jpg"),
        // Not text, so it cannot be the name of a file everywhere.
        ("http://host/cat%FF", "cat_.jpg"),
    ] {
        assert_eq!(name(url).as_deref(), Ok(expected), "{url}");
    }
}

#[test]
fn no_url_leaves_the_directory() {
    for (url, expected) in [
        ("http://host/..%2F..%2Fetc%2Fpasswd", "_.._etc_passwd.jpg"),
        ("http://host/%2Fetc%2Fpasswd", "_etc_passwd.jpg"),
        ("http://host/..%5Ccat", "_cat.jpg"),
        ("http://host/C:cat", "C_cat.jpg"),
        ("http://host/.bashrc", "bashrc.jpg"),
        ("http://host/cat%00.png", "cat_.png"),
        ("http://host/cat%0Atail", "cat_tail.jpg"),
    ] {
        assert_eq!(name(url).as_deref(), Ok(expected), "{url}");
    }
}

/// Whatever byte a piece has inside, its name is a plain one.
#[test]
fn every_byte_makes_a_plain_name() {
    for byte in 0..=u8::MAX {
        let name = name(&format!("http://host/a%{byte:02x}b")).unwrap();
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        assert!(name.chars().all(plain), "{byte} gives {name}");
        assert!(name.starts_with('a') && name.ends_with("b.jpg"), "{byte} gives {name}");
    }
}

#[test]
fn a_url_without_a_name_is_bad() {
    for url in [
        "http://host",
        "http://host/",
        "http://host//cat",
        "http://host/?cat",
        "http://host?a/b/c/d",
        "http://host/..",
        "http://host/%2e%2E",
        "http://host/.",
    ] {
        assert_eq!(name(url), Err(BadUrl::NothingToNameItBy), "{url}");
    }
}

#[test]
fn a_url_of_another_kind_is_bad() {
    for url in ["", "cat", "//host/cat", "ftp://host/cat", "file:///etc/passwd", "httpss://h/cat"] {
        assert_eq!(name(url), Err(BadUrl::NotHttp), "{url}");
    }
    // The slice that is compared ends inside of a character here.
    assert_eq!(name("http://ä/cat").as_deref(), Ok("cat.jpg"));
    assert_eq!(name("http:/ä"), Err(BadUrl::NotHttp));
}

#[test]
fn names_are_given_once() {
    let given = names(&[
        "http://host/cat",
        "http://other/cat",
        "http://host/cat",
        "http://host/CAT",
        "http://host/cat.png",
        "http://host/cat.jpg",
    ]);
    let expected = ["cat.jpg", "cat-2.jpg", "cat-3.jpg", "CAT-4.jpg", "cat.png", "cat-5.jpg"];
    assert_eq!(given, expected.map(|name| Ok(name.to_owned())));
}

/// A number that was appended may be what another URL is called by itself.
#[test]
fn a_numbered_name_is_not_taken_twice() {
    let given = names(&["http://h/cat", "http://h/cat-2", "http://h/cat", "http://h/cat-2"]);
    let expected = ["cat.jpg", "cat-2.jpg", "cat-3.jpg", "cat-2-2.jpg"];
    assert_eq!(given, expected.map(|name| Ok(name.to_owned())));
}

#[test]
fn bad_urls_keep_their_place_and_take_no_name() {
    let given = names(&["http://h/cat", "cat", "http://h/cat"]);
    let expected = [Ok("cat.jpg".into()), Err(BadUrl::NotHttp), Ok("cat-2.jpg".into())];
    assert_eq!(given, expected);
}

#[test]
fn long_names_fit_into_a_directory() {
    const FILE_NAME_BYTES_MAX: usize = 255;
    for letter in ["a", "ä", "猫"] {
        let url = format!("http://host/{}.webp", letter.repeat(300));
        for name in names(&[&url, &url]) {
            let name = name.unwrap();
            assert!(name.len() + ".part".len() <= FILE_NAME_BYTES_MAX, "{name}");
            assert!(name.ends_with(".webp"), "{name}");
        }
    }
}
