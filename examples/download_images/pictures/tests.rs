//! That the check of an image fails for everything but that image.

use std::{collections::HashSet, fs};

use super::*;

const IMAGES: u64 = 6;

#[test]
fn images_are_distinct_and_always_the_same() {
    let files: HashSet<_> = (0..IMAGES).map(|number| encoded(number).unwrap()).collect();
    assert_eq!(files.len() as u64, IMAGES);
    assert!((0..IMAGES).all(|number| files.contains(&encoded(number).unwrap())));
}

#[test]
fn an_image_is_told_from_others_and_from_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.png");
    let image = encoded(1).unwrap();
    fs::write(&path, &image).unwrap();
    check(&path, 1).unwrap();
    check(&path, 2).unwrap_err();

    let damaged = {
        let mut damaged = image.clone();
        damaged[image.len() / 2] ^= 1;
        damaged
    };
    for (what, bytes) in [
        ("empty", &[][..]),
        ("cut in the pixels", &image[..image.len() / 2]),
        ("without its end", &image[..image.len() - 1]),
        ("damaged", &damaged),
        ("no image", b"<html>"),
    ] {
        fs::write(&path, bytes).unwrap();
        assert!(check(&path, 1).is_err(), "an image that is {what}");
    }
    fs::remove_file(&path).unwrap();
    check(&path, 1).unwrap_err();
}
