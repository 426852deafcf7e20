//! Nothing: a package must have more than examples.
