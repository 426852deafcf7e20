//! Not yet.
use crate::Setup;

pub(crate) fn survive(s: &Setup<'_>) {
    s.unknown()
}
